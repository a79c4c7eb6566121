package storage

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
)

// crashDir tells a child of this test where the store is.
const crashDir = "PACKETBOAT_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	if dir := os.Getenv(crashQueueDir); dir != "" {
		crashQueueChild(dir)
		return
	}
	// Each check of the model waits for the disk. The command line wins.
	flag.Set("rapid.checks", "25")
	flag.Set("rapid.nofailfile", "true")
	os.Exit(m.Run())
}

// crashText is the message or file with a name: small ones are rows, large ones files.
func crashText(name string) string {
	n := 100
	if len(name)%3 == 0 {
		n = 200_000
	}
	return "Subject: " + name + "\r\n\r\n" + strings.Repeat(name+"\r\n", n/len(name))
}

// doomed begins the names of what the child removes again.
const doomed = "D"

// crashChild writes until it is killed and says of each thing that it was acknowledged.
func crashChild(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, dir, Options{GarbageAge: time.Millisecond})
	if err != nil {
		fmt.Println("fault", err)
		os.Exit(1)
	}
	a, err := s.AccountByLogin(ctx, "ann@example.test")
	check := func(err error) {
		if err != nil {
			fmt.Println("fault", err)
			os.Exit(1)
		}
	}
	check(err)
	inbox, err := s.Mailbox(ctx, a.ID, "INBOX")
	check(err)
	chain, err := s.Mailbox(ctx, a.ID, "Chain")
	check(err)
	joe, err := s.AccountByLogin(ctx, "joe@example.test")
	check(err)
	shared, err := s.Mailbox(ctx, joe.ID, "INBOX")
	check(err)
	shared.Rights = AllRights
	go s.Run(ctx)
	var out sync.Mutex
	say := func(words ...any) {
		out.Lock()
		defer out.Unlock()
		fmt.Println(words...)
	}
	run := rand.Uint32()
	var epoch atomic.Int64
	epoch.Store(joe.Epoch)
	var wg sync.WaitGroup
	for w := range 10 {
		wg.Go(func() {
			var uid uint32
			for i := 0; ; i++ {
				s.NoteVisit(Visit{Account: joe.ID, Epoch: epoch.Load(), Address: fmt.Sprint(w, i%5), Folder: fmt.Sprint("/", i)})
				switch w {
				case 8:
					if i%7 == 6 {
						check(s.SetCredentials(ctx, joe.ID, nil))
						epoch.Add(1)
					}
					check(crashBatch(ctx, s, a.ID, inbox.ID, shared.Destination(), fmt.Sprintf("%d-batch%d", run, i), say))
					continue
				case 9:
					check(crashReplace(ctx, s, a.ID, chain.ID, fmt.Sprint(run), i, &uid, say))
					continue
				}
				name := fmt.Sprintf("%d-%d-%s%d", run, w, strings.Repeat("x", 1+i%9), i)
				if w%2 == 0 && i%4 == 2 || w%2 == 1 && i%3 == 0 {
					name = doomed + name
				}
				if w%2 == 0 {
					check(crashMail(ctx, s, a.ID, inbox.ID, name, i, say))
				} else {
					check(crashFile(ctx, s, a, name, i, say))
				}
			}
		})
	}
	wg.Wait()
}

func crashMail(ctx context.Context, s *Store, account, inbox int64, name string, i int, say func(...any)) error {
	u, err := s.NewMail(ctx, account, -1)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(u, crashText(name)); err != nil {
		return err
	}
	res, err := s.Deliver(ctx, u, []Target{{Account: account, Mailbox: inbox}})
	if err != nil {
		return err
	}
	say("mail", name, res[0].UID)
	switch i % 4 {
	case 1:
		if _, _, err := s.SetFlags(ctx, account, inbox, []uint32{res[0].UID}, FlagChange{Op: FlagsAdd, Flags: Flagged, Keywords: []string{"kept"}}); err != nil {
			return err
		}
		say("flag", name, res[0].UID)
	case 2:
		if _, err := s.Expunge(ctx, account, inbox, []uint32{res[0].UID}, true); err != nil {
			return err
		}
		say("gone", name, res[0].UID)
	}
	return nil
}

func crashFile(ctx context.Context, s *Store, a *Account, name string, i int, say func(...any)) error {
	u, err := s.NewUpload(ctx, a.ID, -1)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(u, crashText(name)); err != nil {
		return err
	}
	n, err := s.PutFile(ctx, a.ID, a.Home, name, u, time.Time{})
	if err != nil {
		return err
	}
	say("file", name, 0)
	if i%3 == 0 {
		if err := s.Remove(ctx, a.ID, n.ID); err != nil {
			return err
		}
		say("removed", name, 0)
	}
	return nil
}

// acked is what children were told.
type acked struct {
	mail    map[string]uint32
	flagged map[string]bool
	gone    map[string]bool
	file    map[string]bool
	removed map[string]bool

	batch, moved map[string]bool
	replaced     map[string]int // the last of each chain
}

func newAcked() *acked {
	return &acked{map[string]uint32{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]int{}}
}

func (k *acked) line(t *testing.T, line string) {
	var verb, name string
	var uid uint32
	if n, _ := fmt.Sscan(line, &verb, &name, &uid); n < 3 || verb == "fault" {
		t.Fatalf("the child says %q", line)
	}
	switch verb {
	case "mail":
		k.mail[name] = uid
	case "flag":
		k.flagged[name] = true
	case "gone":
		k.gone[name] = true
	case "file":
		k.file[name] = true
	case "removed":
		k.removed[name] = true
	case "batch":
		k.batch[name] = true
	case "moved":
		k.moved[name] = true
	case "replaced":
		k.replaced[name] = int(uid)
	}
}

// TestCrash kills a process that writes, several times, and looks at what it left: whatever was acknowledged is there, once and whole.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	if _, err := s.CreateMailbox(t.Context(), a.ID, "Chain", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	k, seen := newAcked(), map[int64]Mailbox{}
	for round := range 4 {
		crashOnce(t, dir, k, 150+100*round)
		s, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		verifyStore(t, s)
		verifyAcked(t, s, a, k)
		verifyTogether(t, s, a.ID, joe.ID, k)
		verifyReplaced(t, s, a.ID, k)
		verifyForward(t, s, a.ID, seen)
		verifyForward(t, s, joe.ID, seen)
		verifyTexts(t, s, a.ID)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.mail) == 0 || len(k.file) == 0 || len(k.gone) == 0 || len(k.flagged) == 0 || len(k.removed) == 0 || len(k.moved) == 0 || len(k.replaced) == 0 {
		t.Fatalf("the children did too little: %d messages, %d files, %d batches, %d chains", len(k.mail), len(k.file), len(k.moved), len(k.replaced))
	}
}

// crashOnce runs a child until it has acknowledged n things.
func crashOnce(t *testing.T, dir string, k *acked, n int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	lines := bufio.NewScanner(out)
	for i := 0; lines.Scan(); i++ {
		k.line(t, lines.Text())
		if i == n {
			cmd.Process.Kill()
		}
	}
}

// verifyStore checks what must hold in every store.
func verifyStore(t *testing.T, s *Store) {
	t.Helper()
	var ok string
	if err := s.db.Row(`PRAGMA integrity_check`).Scan(&ok); err != nil || ok != "ok" {
		t.Fatal(ok, err)
	}
	for what, query := range map[string]string{
		"messages without blob":  `SELECT COUNT(*) FROM message m WHERE NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = m.blob)`,
		"messages without index": `SELECT COUNT(*) FROM message m WHERE NOT EXISTS (SELECT 1 FROM mail l WHERE l.blob = m.blob)`,
		"messages with garbage":  `SELECT COUNT(*) FROM message m WHERE EXISTS (SELECT 1 FROM garbage g WHERE g.blob = m.blob)`,
		"files without blob":     `SELECT COUNT(*) FROM node n WHERE n.kind = 3 AND n.blob <> 0 AND NOT EXISTS (SELECT 1 FROM blob b WHERE b.id = n.blob)`,
		"mailboxes miscounted": `SELECT COUNT(*) FROM mailbox m WHERE m.messages <> (SELECT COUNT(*) FROM message x WHERE x.mailbox = m.id) OR m.size <> (SELECT COALESCE(SUM(x.size), 0) FROM message x WHERE x.mailbox = m.id)
			OR m.unseen <> (SELECT COUNT(*) FROM message x WHERE x.mailbox = m.id AND x.flags & 1 = 0) OR m.deleted <> (SELECT COUNT(*) FROM message x WHERE x.mailbox = m.id AND x.flags & 8 <> 0)
			OR m.tombs <> (SELECT COUNT(*) FROM expunged e WHERE e.mailbox = m.id)`,
		"modseqs beyond the counters": `SELECT COUNT(*) FROM mailbox m JOIN account a ON a.id = m.account WHERE m.highestmodseq > a.modseq OR m.highestmodseq < (SELECT COALESCE(MAX(x.modseq), 0) FROM message x WHERE x.mailbox = m.id)`,
		"messages that went":          `SELECT COUNT(*) FROM expunged e JOIN message m ON m.mailbox = e.mailbox AND m.uid BETWEEN e.first AND e.last`,
		"references miscounted": `SELECT COUNT(*) FROM (SELECT r.blob, COUNT(*) AS n FROM (SELECT blob FROM message UNION ALL SELECT blob FROM node WHERE blob <> 0 UNION ALL SELECT blob FROM partial UNION ALL SELECT blob FROM outbox) r GROUP BY r.blob) c
			LEFT JOIN blob_shared s ON s.blob = c.blob WHERE c.n <> COALESCE(s.more, 0) + 1`,
		"visits of old credentials": `SELECT COUNT(*) FROM visit v WHERE NOT EXISTS (SELECT 1 FROM account a WHERE a.id = v.account AND a.epoch = v.epoch)`,
		"too many visits":           `SELECT COUNT(*) FROM (SELECT account FROM visit GROUP BY account HAVING COUNT(*) > 16) x`,
		"UIDNEXT not behind":        `SELECT COUNT(*) FROM mailbox m WHERE m.uidnext <= (SELECT COALESCE(MAX(x.uid), 0) FROM message x WHERE x.mailbox = m.id)`,
		"ids beyond the counter":    `SELECT COUNT(*) FROM message WHERE id > (SELECT value FROM counter WHERE name = 'id')`,
		"blobs without reference":   `SELECT COUNT(*) FROM blob b WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.blob = b.id) AND NOT EXISTS (SELECT 1 FROM node n WHERE n.blob = b.id) AND NOT EXISTS (SELECT 1 FROM partial p WHERE p.blob = b.id) AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.blob = b.id) AND NOT EXISTS (SELECT 1 FROM garbage g WHERE g.blob = b.id)`,
		"accounts mischarged": `SELECT COUNT(*) FROM account a WHERE a.bytes <> (SELECT COALESCE(SUM(m.size), 0) FROM mailbox m WHERE m.account = a.id)
			+ (SELECT COALESCE(SUM(n.size), 0) FROM node n WHERE n.account = a.id AND n.kind = 3) + (SELECT COALESCE(SUM(p.size), 0) FROM partial p WHERE p.account = a.id)
			OR a.messages <> (SELECT COALESCE(SUM(m.messages), 0) FROM mailbox m WHERE m.account = a.id) OR a.files <> (SELECT COUNT(*) FROM node n WHERE n.account = a.id AND n.kind = 3)
			OR a.entries <> (SELECT COUNT(*) FROM node n WHERE n.account = a.id) + (SELECT COUNT(*) FROM partial p WHERE p.account = a.id)`,
	} {
		var n int
		if err := s.db.Row(query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d, %v", what, n, err)
		}
	}
	verifyBlobs(t, s)
}

// verifyBlobs reads all bytes and compares their sums.
func verifyBlobs(t *testing.T, s *Store) {
	t.Helper()
	rows, err := s.db.Query(`SELECT id, size, hash FROM blob`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, size int64
		var hash []byte
		if err := rows.Scan(&id, &size, &hash); err != nil {
			t.Fatal(err)
		}
		b, err := s.OpenBlob(t.Context(), id)
		if err != nil {
			t.Errorf("blob %d: %v", id, err)
			continue
		}
		var all bytes.Buffer
		n, err := b.WriteTo(&all)
		sum := binary.BigEndian.AppendUint32(nil, uint32(blob.SumOf(all.Bytes())))
		if len(hash) != len(sum) { // a row of an older version
			old := sha256.Sum256(all.Bytes())
			sum = old[:]
		}
		if err != nil || n != size || !bytes.Equal(sum, hash) {
			t.Errorf("blob %d: %d bytes of %d, %v", id, n, size, err)
		}
		b.Close()
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

func verifyAcked(t *testing.T, s *Store, a *Account, k *acked) {
	t.Helper()
	p, err := s.Snapshot(t.Context(), mailboxNamed(t, s, a.ID, "INBOX").ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, uid := range k.mail {
		i, ok := p.Find(uid)
		if k.gone[name] {
			if ok {
				t.Errorf("%s came back", name)
			}
			continue
		}
		if !ok {
			// Its expunge may have been durable without anybody being told.
			if !strings.HasPrefix(name, doomed) {
				t.Errorf("%s is lost", name)
			}
			continue
		}
		e := p.At(i)
		if k.flagged[name] && (e.Flags&Flagged == 0 || e.Keywords == 0) {
			t.Errorf("%s lost its flags", name)
		}
		wantBody(t, s, e.Blob, crashText(name))
	}
	for name := range k.file {
		n, err := s.Lookup(t.Context(), a.ID, a.Home, name)
		switch {
		case k.removed[name] && !errors.Is(err, fs.ErrNotExist):
			t.Errorf("%s came back: %v", name, err)
		case err == nil:
			wantBody(t, s, n.Blob, crashText(name))
		case !strings.HasPrefix(name, doomed):
			t.Errorf("%s is lost: %v", name, err)
		}
	}
	once := map[string]bool{}
	for _, m := range s.Mail(t.Context(), p, upTo(p.Len()), WantHeader) {
		if m.Err != nil || once[string(m.Header)] {
			t.Errorf("twice: %q, %v", m.Header, m.Err)
		}
		once[string(m.Header)] = true
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

func wantBody(t testing.TB, s *Store, blob int64, want string) {
	t.Helper()
	b, err := s.OpenBlob(context.Background(), blob)
	if err != nil {
		t.Error(err)
		return
	}
	defer b.Close()
	if got, err := io.ReadAll(b); err != nil || string(got) != want {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
}

// TestOrphans: a file without a row goes once it is old, one that an upload holds or that is young stays.
func TestOrphans(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	s := openTest(t, dir, Options{Now: func() time.Time { return now }, InlineMax: 10})
	put := func() blob.Key {
		st, err := s.blobs.Stage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(st, "left behind")
		key, _, err := st.Commit()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	orphan := put()
	a := newAccount(t, s, "ann@example.test", 0)
	held := newMessage(t, s, a.ID, "Subject: this will be a file\r\n\r\n")
	if err := held.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	there := func(k blob.Key) bool {
		r, err := s.blobs.Open(t.Context(), k)
		if err == nil {
			r.Close()
		}
		return err == nil
	}
	if err := s.Sweep(t.Context()); err != nil || !there(orphan) {
		t.Fatal("a young file went", err)
	}
	now = now.Add(2 * time.Hour)
	if err := s.Sweep(t.Context()); err != nil || there(orphan) {
		t.Fatal("an old file without a row stayed", err)
	}
	if !there(held.key) {
		t.Fatal("a file that an upload holds went")
	}
	res, err := s.Deliver(t.Context(), held, []Target{{Account: a.ID, Mailbox: mailboxNamed(t, s, a.ID, "INBOX").ID}})
	if err != nil || res[0].Err != nil {
		t.Fatal(res, err)
	}
	verifyStore(t, s)
}
