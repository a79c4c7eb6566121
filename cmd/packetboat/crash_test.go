//go:build e2e

package main

import (
	"bufio"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// acks are what the server acknowledged before it was killed.
type acks struct {
	mu       sync.Mutex
	mail     map[string]bool   // subjects delivered by SMTP
	appended map[string]uint32 // subjects appended by IMAP, with their UID
	flagged  map[uint32]bool   // UIDs that have a keyword
	files    map[string]string // content by name
}

func (a *acks) note(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// kill -9 in the middle of deliveries, appends, flag changes and uploads, several times: what was acknowledged
// is there once, nothing is half.
func TestCrash(t *testing.T) {
	b := launch(t, "--set", "auth.throttle=off")
	a := &acks{mail: map[string]bool{}, appended: map[string]uint32{}, flagged: map[uint32]bool{}, files: map[string]string{}}
	several, client := &multi{map[string]bool{}, map[string]bool{}}, &mirror{}
	if l := b.imap(t); true {
		for _, name := range []string{"Crash", "Multi"} {
			if _, err := l.until("c CREATE "+name, "c OK"); err != nil {
				t.Fatal(err)
			}
		}
		client.resync(t, l)
		l.Close()
	}
	for round := range 4 {
		var work sync.WaitGroup
		for w := range 3 {
			id := fmt.Sprintf("r%dw%d", round, w)
			work.Go(func() { b.deliverUntilCut(id, a) })
			work.Go(func() { b.appendUntilCut(id, a) })
			work.Go(func() { b.uploadUntilCut(id, a) })
			work.Go(func() { b.multiUntilCut(id, a, several) })
		}
		time.Sleep(time.Second + time.Duration(round)*137*time.Millisecond)
		b.kill()
		work.Wait()
		b.start()
		b.verify(t, a)
		l := b.imap(t)
		client.resync(t, l)
		several.verify(t, l.fetchAll(t, "Multi"))
		l.Close()
		if t.Failed() {
			return
		}
	}
	t.Logf("after 4 kills: %d deliveries, %d appends, %d flags, %d files, %d times three appends, %d replacements, all there once",
		len(a.mail), len(a.appended), len(a.flagged), len(a.files), len(several.appended), len(several.replaced))
	if len(several.replaced) < 20 || len(a.mail) < 20 || len(a.appended) < 20 || len(a.flagged) < 20 || len(a.files) < 20 {
		t.Error("too little was acknowledged for the test to mean anything")
	}
}

// text of a message or file: different sizes, some larger than what is kept in the database; the hash tells whether it is whole.
func crashText(id string, n int) string {
	body := strings.Repeat(fmt.Sprintf("%s line %d\r\n", id, n), 1+n%7*n%5*900)
	return fmt.Sprintf("%x\r\n%s", sha256.Sum256([]byte(body)), body)
}

func whole(text string) bool {
	sum, body, ok := strings.Cut(text, "\r\n")
	return ok && sum == fmt.Sprintf("%x", sha256.Sum256([]byte(body)))
}

func (b *boat) plain(standard int) (*line, error) {
	c, err := net.DialTimeout("tcp", b.addr(standard), 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &line{c, bufio.NewReader(c)}, nil
}

func (b *boat) imap(t *testing.T) *line {
	t.Helper()
	l, err := b.plain(143)
	if err != nil {
		t.Fatal(err)
	}
	l.until("", "* OK")
	if out, err := l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a OK"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

func (b *boat) deliverUntilCut(id string, a *acks) {
	l, err := b.plain(25)
	if err != nil {
		return
	}
	defer l.Close()
	l.until("", "220 ")
	l.until("EHLO crash", "250 ")
	for n := 0; ; n++ {
		subject := fmt.Sprintf("%sn%d", id, n)
		for _, step := range [][2]string{{"MAIL FROM:<>", "250"}, {"RCPT TO:<ann@example.test>", "250"}, {"DATA", "354"},
			{"Subject: " + subject + "\r\n\r\n" + crashText(subject, n) + ".", "250"}} {
			if _, err := l.until(step[0], step[1]); err != nil {
				return
			}
		}
		a.note(func() { a.mail[subject] = true })
	}
}

func (b *boat) appendUntilCut(id string, a *acks) {
	l, err := b.plain(143)
	if err != nil {
		return
	}
	defer l.Close()
	l.until("", "* OK")
	l.until(`a LOGIN ann@example.test "`+annPassword+`"`, "a OK")
	if _, err := l.until("s SELECT Crash", "s OK"); err != nil {
		return
	}
	uid := regexp.MustCompile(`APPENDUID \d+ (\d+)`)
	for n := 0; ; n++ {
		subject := fmt.Sprintf("%sn%d", id, n)
		text := "Subject: " + subject + "\r\n\r\n" + crashText(subject, n)
		out, err := l.until(fmt.Sprintf("p APPEND Crash {%d+}\r\n%s", len(text), text), "p OK")
		if err != nil {
			return
		}
		m := uid.FindStringSubmatch(out)
		if m == nil {
			return
		}
		u, _ := strconv.ParseUint(m[1], 10, 32)
		a.note(func() { a.appended[subject] = uint32(u) })
		if _, err := l.until(fmt.Sprintf("f UID STORE %d +FLAGS.SILENT (crashed)", u), "f OK"); err != nil {
			return
		}
		a.note(func() { a.flagged[uint32(u)] = true })
	}
}

func (b *boat) ftp() (*line, error) {
	l, err := b.plain(21)
	if err != nil {
		return nil, err
	}
	for _, step := range [][2]string{{"", "220 "}, {"USER ann@example.test", "331 "}, {"PASS " + annPassword, "230 "}, {"TYPE I", "200 "}} {
		if _, err := l.until(step[0], step[1]); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// data opens a passive data connection.
func (l *line) data() (net.Conn, error) {
	out, err := l.until("EPSV", "229 ")
	if err != nil {
		return nil, err
	}
	m := regexp.MustCompile(`\(\|\|\|(\d+)\|\)`).FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("no port in %q", out)
	}
	return net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", m[1]), 5*time.Second)
}

func (b *boat) uploadUntilCut(id string, a *acks) {
	l, err := b.ftp()
	if err != nil {
		return
	}
	defer l.Close()
	for n := 0; ; n++ {
		name := fmt.Sprintf("/%s-%d.bin", id, n%50) // names come again: files are replaced
		text := crashText(id, n)
		d, err := l.data()
		if err != nil {
			return
		}
		if _, err = l.until("STOR "+name, "150 ", "125 "); err == nil {
			_, err = io.WriteString(d, text)
		}
		d.Close()
		if err != nil {
			return
		}
		if _, err := l.until("", "226 "); err != nil {
			return
		}
		a.note(func() { a.files[name] = text })
	}
}

func (b *boat) verify(t *testing.T, a *acks) {
	t.Helper()
	l := b.imap(t)
	defer l.Close()
	inbox := l.fetchAll(t, "INBOX")
	for s := range a.mail {
		if len(inbox[s]) != 1 {
			t.Errorf("delivery %s is there %d times", s, len(inbox[s]))
		}
	}
	crash := l.fetchAll(t, "Crash")
	for s, uid := range a.appended {
		if m := crash[s]; len(m) != 1 || m[0].uid != uid {
			t.Errorf("appended message %s (UID %d) is there as %v", s, uid, m)
		}
	}
	out, err := l.until("k UID SEARCH KEYWORD crashed", "k OK")
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]bool{}
	for f := range strings.FieldsSeq(strings.Split(out, "\r\n")[0]) {
		have[f] = true
	}
	for uid := range a.flagged {
		if !have[fmt.Sprint(uid)] {
			t.Errorf("the flag of UID %d is lost", uid)
		}
	}
	f, err := b.ftp()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range a.files {
		got, err := f.retrieve(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// A later upload of the name may have been made durable without its 226 having come through.
		if got != want && !whole(got) {
			t.Errorf("%s is half: %d bytes", name, len(got))
		}
	}
}

type crashMail struct{ uid uint32 }

// fetchAll reads a mailbox by subject; a message that is not whole is an error.
func (l *line) fetchAll(t *testing.T, mailbox string) map[string][]crashMail {
	t.Helper()
	if out, err := l.until("e EXAMINE "+mailbox, "e OK"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	all := map[string][]crashMail{}
	l.SetDeadline(time.Now().Add(time.Minute))
	fmt.Fprintf(l, "g UID FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])\r\n")
	uidOf := regexp.MustCompile(`UID (\d+)`)
	literal := regexp.MustCompile(`\{(\d+)\}\r\n$`)
	for {
		text, err := l.r.ReadString('\n')
		if err != nil {
			t.Fatalf("reading %s: %v", mailbox, err)
		}
		if strings.HasPrefix(text, "g ") {
			if !strings.HasPrefix(text, "g OK") {
				t.Fatalf("FETCH: %s", text)
			}
			return all
		}
		if !strings.Contains(text, " FETCH (") {
			continue
		}
		m := uidOf.FindStringSubmatch(text)
		var parts []string
		for lit := literal.FindStringSubmatch(text); lit != nil; lit = literal.FindStringSubmatch(text) {
			n, _ := strconv.Atoi(lit[1])
			data := make([]byte, n)
			if _, err := io.ReadFull(l.r, data); err != nil {
				t.Fatal(err)
			}
			parts = append(parts, string(data))
			if text, err = l.r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
			if m == nil {
				m = uidOf.FindStringSubmatch(text)
			}
		}
		if len(parts) != 2 || m == nil {
			t.Fatalf("odd FETCH answer with %d literals: %s", len(parts), text)
		}
		uid, _ := strconv.ParseUint(m[1], 10, 32)
		subject := strings.TrimSpace(strings.TrimPrefix(parts[0], "Subject:"))
		if !whole(parts[1]) {
			t.Errorf("%s: message %s is half (%d bytes)", mailbox, subject, len(parts[1]))
		}
		all[subject] = append(all[subject], crashMail{uint32(uid)})
	}
}

func (l *line) retrieve(name string) (string, error) { return l.fetch("RETR", name) }
