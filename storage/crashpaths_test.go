package storage

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage/mime"
)

// What TestCrash does and looks at beside single messages and files: messages that come together, go to another account, take the place of others.

// crashGroup is how many messages crashBatch puts in at a time; one of them is a file.
const crashGroup = 3

func crashUpload(ctx context.Context, s *Store, account int64, name string) (*Upload, error) {
	u, err := s.NewMail(ctx, account, -1)
	if err == nil {
		_, err = io.WriteString(u, crashText(name))
	}
	return u, err
}

// crashBatch puts messages into INBOX together and moves them to joe, whose INBOX is shared.
func crashBatch(ctx context.Context, s *Store, account, inbox int64, to Destination, name string, say func(...any)) error {
	b := s.NewBatch()
	defer b.Abort()
	for i := range crashGroup {
		u, err := crashUpload(ctx, s, account, fmt.Sprintf("%s.%s", name, strings.Repeat("y", 1+i)))
		if err == nil {
			err = b.Add(ctx, u, Target{Account: account, Mailbox: inbox, Keywords: []string{"together"}})
		}
		if err != nil {
			return err
		}
	}
	res, err := s.DeliverBatch(ctx, b)
	if err != nil {
		return err
	}
	say("batch", name, res[0].UID)
	uids := make([]uint32, len(res))
	for i, r := range res {
		uids[i] = r.UID
	}
	if _, err := s.Move(ctx, account, inbox, uids, to); err != nil {
		return err
	}
	say("moved", name, 0)
	return nil
}

// crashReplace lets a message take the place of the one before it.
func crashReplace(ctx context.Context, s *Store, account, box int64, chain string, n int, uid *uint32, say func(...any)) error {
	u, err := crashUpload(ctx, s, account, fmt.Sprintf("%s.%d", chain, n))
	if err != nil {
		return err
	}
	to := Target{Account: account, Mailbox: box}
	var res Appended
	if n == 0 {
		var all []Appended
		if all, err = s.Deliver(ctx, u, []Target{to}); err == nil {
			res = all[0]
		}
	} else {
		res, err = s.Replace(ctx, u, to, account, box, *uid)
	}
	if err != nil {
		return err
	}
	*uid = res.UID
	say("replaced", chain, n)
	return nil
}

// verifyTogether: of messages that came together all are there or none, each once, in one account or the other.
func verifyTogether(t *testing.T, s *Store, ann, joe int64, k *acked) {
	t.Helper()
	at := map[string][2]int{} // by name: how many are with ann, and with joe
	for i, account := range []int64{ann, joe} {
		for name := range subjects(t, s, account, "INBOX") {
			if group, _, ok := strings.Cut(name, ".y"); ok {
				n := at[group]
				n[i]++
				at[group] = n
			}
		}
	}
	for name, n := range at {
		if n != [2]int{crashGroup, 0} && n != [2]int{0, crashGroup} {
			t.Errorf("of the messages %s %d are with one and %d with the other", name, n[0], n[1])
		}
	}
	for name := range k.batch {
		if n := at[name]; n[0]+n[1] != crashGroup || k.moved[name] && n[1] == 0 {
			t.Errorf("messages %s were acknowledged (moved: %v), %v are there", name, k.moved[name], n)
		}
	}
}

// verifyReplaced: of each chain one message is there: the last that was acknowledged, or the next.
func verifyReplaced(t *testing.T, s *Store, ann int64, k *acked) {
	t.Helper()
	have := map[string][]int{}
	for name := range subjects(t, s, ann, "Chain") {
		chain, n, _ := strings.Cut(name, ".")
		var i int
		fmt.Sscan(n, &i)
		have[chain] = append(have[chain], i)
	}
	for chain, n := range k.replaced {
		if h := have[chain]; len(h) != 1 || h[0] != n && h[0] != n+1 {
			t.Errorf("%s: %v are there, %d was acknowledged", chain, h, n)
		}
	}
}

// subjects counts the messages of a mailbox by subject; none may be there twice.
func subjects(t *testing.T, s *Store, account int64, mailbox string) map[string]int {
	t.Helper()
	p, err := s.Snapshot(t.Context(), mailboxNamed(t, s, account, mailbox).ID)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	for _, m := range s.Mail(t.Context(), p, upTo(p.Len()), WantHeader) {
		name := strings.TrimSpace(strings.TrimPrefix(string(m.Header), "Subject: "))
		if all[name]++; m.Err != nil || all[name] > 1 {
			t.Errorf("%q in %s is there %d times, %v", name, mailbox, all[name], m.Err)
		}
	}
	return all
}

// verifyForward: the counters that clients resynchronise by never go back (RFC 7162 section 3.1.2, RFC 9051 section 2.3.1.1). seen is what
// they were the last time.
func verifyForward(t *testing.T, s *Store, account int64, seen map[int64]Mailbox) {
	t.Helper()
	boxes, err := s.Mailboxes(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range boxes {
		if was := seen[m.ID]; m.UIDNext < was.UIDNext || m.HighestModSeq < was.HighestModSeq || was.UIDValidity != 0 && m.UIDValidity != was.UIDValidity {
			t.Errorf("%s went back from %+v to %+v", m.Name, was, m)
		}
		seen[m.ID] = m
	}
}

// verifyTexts: whatever the crash left of the text index, what it says is true, and it can be brought up to date.
func verifyTexts(t *testing.T, s *Store, account int64) {
	t.Helper()
	p, err := s.Snapshot(t.Context(), mailboxNamed(t, s, account, "INBOX").ID)
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (known int) {
		asked := s.TextSearch()
		if asked == nil {
			return 0
		}
		defer asked.Close()
		no := asked.Look(TextNeedle{Text: mime.AppendCasemap(nil, []byte("in no message"))})
		for _, m := range s.Mail(t.Context(), p, upTo(p.Len()), WantHeader) {
			name := strings.TrimSpace(strings.TrimPrefix(string(m.Header), "Subject: "))
			yes := asked.Look(TextNeedle{Text: mime.AppendCasemap(nil, []byte(name)), Body: true})
			y, ok := asked.Ask(yes, m.Blob)
			n, _ := asked.Ask(no, m.Blob)
			if ok && (!y || n) {
				t.Errorf("the text index says %v and %v of %s", y, n, name)
			}
			if ok {
				known++
			}
		}
		return known
	}
	ask()
	if err := s.BuildIndex(t.Context()); err != nil {
		t.Error(err)
	}
	if known := ask(); known != p.Len() {
		t.Errorf("the text index knows %d of %d messages", known, p.Len())
	}
}
