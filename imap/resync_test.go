package imap_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// cache is what a client keeps of a mailbox by the rules of RFC 7162 section 6 alone: from what it is told, and nothing else.
type cache struct {
	*line
	byUID bool // UIDONLY
	rows  map[uint32]cached
	nums  []uint32 // sequence number to UID; 0: not known yet
	uids  uint32   // UIDVALIDITY
	seq   uint64   // HIGHESTMODSEQ
	seen  uint64   // greatest MODSEQ since the last tagged response
	told  uint64   // HIGHESTMODSEQ since then, 0: none
}

type cached struct {
	flags  string
	modseq uint64
}

// run says a command and takes in what comes up to its tagged response, which it returns.
func (c *cache) run(format string, args ...any) string {
	c.t.Helper()
	c.say("t "+format, args...)
	for {
		s, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		s = strings.TrimSuffix(s, "\r\n")
		c.take(s)
		if strings.HasPrefix(s, "t ") {
			if strings.HasPrefix(s, "t BAD") {
				c.t.Fatal(s)
			}
			switch {
			case c.told != 0:
				c.seq = c.told
			case c.seen > c.seq:
				c.seq = c.seen
			}
			c.told, c.seen = 0, 0
			return s
		}
	}
}

func between(s, a, b string) string {
	_, s, ok := strings.Cut(s, a)
	if !ok {
		return ""
	}
	s, _, _ = strings.Cut(s, b)
	return s
}

func number(t testing.TB, s string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// take takes in one response.
func (c *cache) take(s string) {
	c.t.Helper()
	f := strings.Fields(s)
	if f[0] == "t" {
		f = nil
	}
	switch {
	case strings.Contains(s, "[HIGHESTMODSEQ "):
		c.told = number(c.t, between(s, "[HIGHESTMODSEQ ", "]"))
	case strings.Contains(s, "[UIDVALIDITY "):
		c.uids = uint32(number(c.t, between(s, "[UIDVALIDITY ", "]")))
	case len(f) > 2 && f[2] == "EXISTS":
		n := int(number(c.t, f[1]))
		if n < len(c.nums) {
			c.t.Fatalf("%s after %d messages", s, len(c.nums))
		}
		for len(c.nums) < n {
			c.nums = append(c.nums, 0)
		}
	case strings.HasPrefix(s, "* VANISHED (EARLIER) "):
		for _, uid := range ranges(c.t, f[3]) {
			delete(c.rows, uid)
		}
	case strings.HasPrefix(s, "* VANISHED "):
		c.vanish(s, ranges(c.t, f[2]))
	case len(f) > 2 && (f[2] == "FETCH" || f[2] == "UIDFETCH"):
		c.fetched(s, f)
	case len(f) > 2 && f[2] == "EXPUNGE":
		c.t.Fatal(s)
	}
}

// vanish takes messages away, each of which must be one that the client was told of.
func (c *cache) vanish(s string, uids []uint32) {
	for _, uid := range uids {
		_, known := c.rows[uid]
		delete(c.rows, uid)
		i := slices.Index(c.nums, uid)
		if i < 0 && (!known || c.byUID) {
			i = slices.Index(c.nums, 0) // one that was not asked for yet
		}
		if i < 0 {
			c.t.Fatalf("%s: UID %d is not known", s, uid)
		}
		c.nums = slices.Delete(c.nums, i, i+1)
	}
}

func (c *cache) fetched(s string, f []string) {
	uid, num := uint32(0), int(number(c.t, f[1]))
	if f[2] == "UIDFETCH" {
		uid = uint32(num)
	} else {
		uid = uint32(number(c.t, strings.TrimSuffix(between(s+" ", "UID ", " "), ")")))
		if num > len(c.nums) || c.nums[num-1] != 0 && c.nums[num-1] != uid {
			c.t.Fatalf("%s: the client's numbers are %v", s, c.nums)
		}
		c.nums[num-1] = uid
	}
	row := c.rows[uid]
	if strings.Contains(s, "FLAGS (") {
		row.flags = between(s, "FLAGS (", ")")
	}
	if strings.Contains(s, "MODSEQ (") {
		row.modseq = number(c.t, between(s, "MODSEQ (", ")"))
		c.seen = max(c.seen, row.modseq)
	}
	c.rows[uid] = row
}

func ranges(t testing.TB, s string) (uids []uint32) {
	for _, r := range strings.Split(s, ",") {
		a, b, ok := strings.Cut(r, ":")
		if !ok {
			b = a
		}
		for n := number(t, a); n <= number(t, b); n++ {
			uids = append(uids, uint32(n))
		}
	}
	return uids
}

// connect opens the mailbox with what the client knows of it.
func (c *cache) connect(h *house) {
	if c.line != nil {
		c.Close()
	}
	c.line = login(c.t, h)
	c.nums = nil
	enable := "QRESYNC"
	if c.byUID {
		enable += " UIDONLY"
	}
	c.run("ENABLE %s", enable)
	if c.uids == 0 {
		c.run("SELECT INBOX")
		c.news()
		return
	}
	before := c.seq
	c.told, c.seen = 0, 0
	c.run("SELECT INBOX (QRESYNC (%d %d))", c.uids, max(before, 1))
	c.news()
}

// news asks for the messages that the client knows nothing of, and for the numbers of the others.
func (c *cache) news() {
	last := uint32(0)
	for uid := range c.rows {
		last = max(last, uid)
	}
	c.run("UID FETCH %d:* (UID FLAGS MODSEQ)", last+1)
	if !c.byUID && len(c.nums) > 0 {
		c.run("FETCH 1:* (UID)")
	}
}

// check compares the client's cache with the mailbox.
func (c *cache) check(h *house, what string) {
	c.t.Helper()
	p, err := h.store.Snapshot(c.t.Context(), h.box(c.t, "ann", "INBOX").ID)
	if err != nil {
		c.t.Fatal(err)
	}
	if p.Len() != len(c.rows) {
		c.t.Fatalf("%s: the client knows %d messages of %d: %v", what, len(c.rows), p.Len(), c.rows)
	}
	for i := range p.Len() {
		m := p.At(i)
		row, ok := c.rows[m.UID]
		if !ok || row.modseq != m.ModSeq || strings.Contains(row.flags, `\Flagged`) != (m.Flags&storage.Flagged != 0) || strings.Contains(row.flags, `\Seen`) != (m.Flags&storage.Seen != 0) {
			c.t.Fatalf("%s: UID %d is %v with the client, %+v in the mailbox", what, m.UID, row, m)
		}
	}
}

// A client that follows RFC 7162 section 6 knows, after whatever happened and wherever its connection was cut, the mailbox as it is.
func TestResynchronisation(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			h := open(t, imap.Options{Recents: imap.NothingRecent()}, auth.PlaintextLoopback)
			h.many(t, "ann", "INBOX", "12")
			c := &cache{rows: map[uint32]cached{}, byUID: seed%2 == 1, line: &line{t: t}}
			c.line.Conn = dial(t, h).Conn
			c.connect(h)
			c.check(h, "at first")
			for step := range 80 {
				for range r.IntN(3) {
					disturb(t, h, r)
				}
				what := c.act(h, r)
				if r.IntN(3) == 0 {
					c.connect(h)
				} else {
					c.run("NOOP")
					c.news()
				}
				c.check(h, fmt.Sprintf("step %d, after %s", step, what))
			}
		})
	}
}

// disturb is what other sessions do.
func disturb(t testing.TB, h *house, r *rand.Rand) {
	box := h.box(t, "ann", "INBOX")
	p, err := h.store.Snapshot(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	if p.Len() == 0 || r.IntN(4) == 0 {
		h.many(t, "ann", "INBOX", "2")
		return
	}
	uid := fmt.Sprint(p.UID(r.IntN(p.Len())))
	if r.IntN(2) == 0 {
		h.flag(t, "ann", "INBOX", uid)
		return
	}
	h.expunge(t, "ann", "INBOX", uid)
}

// act is what the client does itself, with numbers as it knows them.
func (c *cache) act(h *house, r *rand.Rand) string {
	uid := uint32(1)
	for u := range c.rows {
		uid = max(uid, u)
	}
	uid = 1 + uint32(r.IntN(int(uid)))
	op := []string{"+FLAGS", "-FLAGS", "FLAGS"}[r.IntN(3)]
	if r.IntN(2) == 0 {
		op += ".SILENT"
	}
	command := ""
	switch k := r.IntN(6); {
	case k == 0:
		command = fmt.Sprintf("UID STORE %d:* %s (\\Seen)", uid, op)
	case k == 1:
		command = fmt.Sprintf("UID STORE %d (UNCHANGEDSINCE %d) %s (\\Flagged)", uid, max(c.seq, 1), op)
	case k == 2:
		c.run("UID STORE %d +FLAGS.SILENT (\\Deleted)", uid)
		command = "UID EXPUNGE 1:*"
	case k == 3:
		command = fmt.Sprintf("UID MOVE %d Archive", uid)
	case c.byUID || len(c.nums) == 0 || strings.Contains(fmt.Sprint(c.nums), "[0"):
		command = fmt.Sprintf("UID FETCH %d BODY[TEXT]", uid)
	default:
		command = fmt.Sprintf("STORE %d %s (\\Seen)", 1+r.IntN(len(c.nums)), op)
	}
	if strings.Contains(command, "FLAGS") && strings.Contains(command, "SILENT") {
		c.silent(command)
		return command
	}
	c.run("%s", command)
	return command
}

// silent runs a silent STORE and then does to the cache what the client asked for, as far as it was not told better.
func (c *cache) silent(command string) {
	before := map[uint32]cached{}
	for u, row := range c.rows {
		before[u] = row
	}
	c.run("%s", command)
	for u, row := range c.rows {
		if old := before[u]; old.flags != row.flags || old.modseq == row.modseq {
			continue // told, or not changed
		}
		flag := between(command, "SILENT (", ")")
		switch {
		case strings.Contains(command, "+FLAGS"):
			row.flags += " " + flag
		case strings.Contains(command, "-FLAGS"):
			row.flags = strings.ReplaceAll(row.flags, flag, "")
		default:
			row.flags = flag
		}
		c.rows[u] = row
	}
}

// What is too long ago is not remembered: then all UIDs that are not there are told, in lines that clients can read, and message sequence match data spares most
// of them (RFC 7162 sections 3.2.5.2 and 3.2.6).
func TestForgottenExpunges(t *testing.T) {
	const n = 1 << 14
	h := open(t, imap.Options{Recents: imap.NothingRecent()}, auth.PlaintextLoopback)
	h.many(t, "ann", "INBOX", "1")
	l := login(t, h)
	l.do("SELECT INBOX")
	for range 14 {
		l.do("COPY 1:* INBOX")
	}
	box := h.box(t, "ann", "INBOX")
	var uids []uint32
	for uid := uint32(1); uid <= n; uid += 2 {
		uids = append(uids, uid)
	}
	if gone, err := h.store.Expunge(t.Context(), box.Account, box.ID, uids, true); err != nil || len(gone) != len(uids) {
		t.Fatal(len(gone), err)
	}
	h.expunge(t, "ann", "INBOX", "2") // one range more than are remembered
	l.do("UNSELECT")
	l.do("ENABLE QRESYNC")
	vanished := func(format string, args ...any) (all []uint32) {
		t.Helper()
		l.say("t "+format, args...)
		for {
			s, err := l.r.ReadString('\n')
			if err != nil || strings.HasPrefix(s, "t NO") || strings.HasPrefix(s, "t BAD") {
				t.Fatal(s, err)
			}
			if strings.HasPrefix(s, "t ") {
				return all
			}
			if strings.HasPrefix(s, "* VANISHED (EARLIER) ") {
				if len(s) > 8192 {
					t.Errorf("a line of %d bytes", len(s))
				}
				all = append(all, ranges(t, strings.Fields(s)[3])...)
			}
		}
	}
	// the first of them went with this mod-sequence already
	all := vanished("SELECT INBOX (QRESYNC (%d %d))", box.UIDValidity, box.HighestModSeq+1)
	if len(all) != len(uids)+1 || !slices.IsSorted(all) || all[0] != 1 || all[len(all)-1] != n-1 {
		t.Errorf("%d UIDs vanished, want %d", len(all), len(uids)+1)
	}
	if got := vanished("UID FETCH 1000:1003,%d:* (UID) (CHANGEDSINCE 1 VANISHED)", n); !slices.Equal(got, []uint32{1001, 1003}) {
		t.Error(got)
	}
	// UID 16 is the seventh that is there
	if got := vanished("SELECT INBOX (QRESYNC (%d 1 1:20 (7 16)))", box.UIDValidity); !slices.Equal(got, []uint32{17, 19}) {
		t.Error(got)
	}
}
