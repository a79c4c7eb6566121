package imap_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// talker speaks IMAP line by line: for tables with more rows than scripts would be good for.
type talker struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
	n    int
}

func (h *house) talker(t testing.TB, account string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", h.plain)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	k := &talker{t: t, conn: conn, r: bufio.NewReader(conn)}
	k.line()
	if r := k.do("LOGIN " + account + "@example.test secret"); !strings.Contains(r, " OK ") {
		t.Fatal(r)
	}
	return k
}

func (k *talker) line() string {
	k.t.Helper()
	_ = k.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	s, err := k.r.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		k.t.Fatal(err)
	}
	return s
}

// do gives all that a command is answered, its tagged response last, without the tag.
func (k *talker) do(command string) string {
	k.t.Helper()
	k.n++
	tag := fmt.Sprintf("t%d", k.n)
	if _, err := io.WriteString(k.conn, tag+" "+command+"\r\n"); err != nil {
		k.t.Fatal(err)
	}
	var all strings.Builder
	for {
		s := k.line()
		if rest, ok := strings.CutPrefix(s, tag); ok {
			return all.String() + "tagged" + rest
		}
		all.WriteString(s)
		if s == "" || strings.HasPrefix(s, "* BYE") {
			return all.String()
		}
	}
}

// grant gives joe rights on a mailbox of ann's and no others.
func (h *house) grant(t testing.TB, mailbox string, r storage.Rights) {
	t.Helper()
	c := storage.ACLChange{Grant: storage.Grant{Account: h.accounts["joe"].ID, Name: "joe@example.test", Rights: r}}
	if err := h.store.SetACL(t.Context(), h.accounts["ann"].ID, h.box(t, "ann", mailbox).ID, c); err != nil {
		t.Fatal(err)
	}
}

// may is a row: what a command needs on the mailbox $ and how it is told what is refused.
type may struct {
	command  string
	need     storage.Rights
	selected bool   // $ is selected
	denied   string // code when refused, "" for NOPERM or NONEXISTENT as l decides
}

const (
	l = storage.MayLookup
	r = storage.MayRead
	s = storage.MaySee
	w = storage.MayWrite
	i = storage.MayInsert
	k = storage.MayCreate
	x = storage.MayDelete
	m = storage.MayMark
	e = storage.MayExpunge
	a = storage.MayAdminister
)

// The table of RFC 4314 section 4.
var rules = []may{
	{command: "SUBSCRIBE $", need: l},
	{command: "CREATE $/new", need: k, denied: "NOPERM"},
	{command: "CREATE $/new/deeper", need: k, denied: "NOPERM"},
	{command: "DELETE $", need: x},
	{command: "RENAME $ Shared/ann@example.test/Free/$", need: x},
	{command: "SELECT $", need: r},
	{command: "EXAMINE $", need: r},
	{command: "STATUS $ (MESSAGES)", need: r},
	{command: "SETACL $ anyone +l", need: a},
	{command: "DELETEACL $ anyone", need: a},
	{command: "GETACL $", need: a},
	{command: "LISTRIGHTS $ anyone", need: a},
	{command: "APPEND $ {3+}\r\nabc", need: i},
	{command: "APPEND $ (\\Seen \\Deleted \\Flagged x) {3+}\r\nabc", need: i},
	{command: "GETQUOTAROOT $", need: r},
	{command: "COPY 1 $", need: i},
	{command: "UID COPY 1 $", need: i},
	{command: "MOVE 1 $", need: i},
	{command: "REPLACE 1 $ {3+}\r\nabc", need: i},
	{command: `APPEND INBOX CATENATE (URL "/$/;UID=1")`, need: r, denied: "BADURL"},
	{command: `ESEARCH IN (mailboxes $) ALL`},
	{command: "UNSUBSCRIBE $"},
	{command: `LIST "" $`},
	{command: `LIST "" $ RETURN (STATUS (MESSAGES) MYRIGHTS)`},
	{command: `LSUB "" $`},

	{command: "STORE 1 +FLAGS (\\Seen)", need: s, selected: true},
	{command: "UID STORE 1 -FLAGS (\\Seen)", need: s, selected: true},
	{command: "STORE 1 FLAGS (\\Seen)", need: s, selected: true},
	{command: "STORE 1 +FLAGS (\\Deleted)", need: m, selected: true},
	{command: "STORE 1 FLAGS (\\Deleted)", need: m, selected: true},
	{command: "STORE 1 +FLAGS (\\Flagged)", need: w, selected: true},
	{command: "STORE 1 FLAGS (word)", need: w, selected: true},
	{command: "STORE 1 +FLAGS.SILENT (\\Draft \\Answered)", need: w, selected: true},
	{command: "EXPUNGE", need: e, selected: true},
	{command: "UID EXPUNGE 1", need: e, selected: true},
	{command: "MOVE 1 INBOX", need: e | m, selected: true},
	{command: "UID MOVE 1 INBOX", need: e | m, selected: true},
	{command: "REPLACE 1 INBOX {3+}\r\nabc", need: e | m, selected: true},
	{command: "UID REPLACE 1 INBOX {3+}\r\nabc", need: e | m, selected: true},
	{command: "COPY 1 INBOX", selected: true},
	{command: "FETCH 1 BODY[]", selected: true},
	{command: "SEARCH ALL", selected: true},
	{command: "CHECK", selected: true},
	{command: "CLOSE", selected: true},
	{command: "UNSELECT", selected: true},
}

// Each command with and without each right, from another account than the owner's (RFC 4314 section 4).
func TestRightsOfCommands(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	joe := h.talker(t, "joe")
	n := 0
	try := func(row may, have storage.Rights) {
		n++
		name := fmt.Sprintf("T%d", n)
		shared := "Shared/ann@example.test/" + name
		if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, name, ""); err != nil {
			t.Fatal(err)
		}
		h.put(t, "ann", name, "Subject: x\r\n\r\n")
		if row.selected {
			h.grant(t, name, storage.AllRights)
			joe.do("SELECT " + shared)
		} else if slices.Contains([]string{"COPY", "MOVE", "REPLACE"}, strings.Fields(strings.TrimPrefix(row.command, "UID "))[0]) {
			h.put(t, "joe", "INBOX", "Subject: x\r\n\r\n")
			joe.do("SELECT INBOX")
		}
		h.grant(t, name, have)
		command := strings.NewReplacer("Free/$", "Free/"+name, "$", shared).Replace(row.command)
		answer := joe.do(command)
		want := "tagged OK "
		switch {
		case have.Has(row.need):
		case row.denied != "":
			want = "tagged NO [" + row.denied
		case row.selected || have.Has(l):
			want = "tagged NO [NOPERM] "
		default:
			want = "tagged NO [" // NONEXISTENT; TRYCREATE cannot be, as nothing can be created there
		}
		if !strings.Contains(answer, want) {
			t.Errorf("%q with %q: %q", command, have, answer)
		}
		if want == "tagged NO [" && !strings.Contains(answer, "tagged NO [NONEXISTENT] No such mailbox") {
			t.Errorf("%q with %q tells more than that there is nothing: %q", command, have, answer)
		}
		// What others without r hear of a mailbox is no more than its name.
		if !row.selected && !have.Has(r) && slices.ContainsFunc([]string{"(MESSAGES", "* ESEARCH", "EXISTS\r\n* OK [UIDV"}, func(s string) bool { return strings.Contains(answer, s) }) {
			t.Errorf("%q with %q: %q", command, have, answer)
		}
	}
	if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, "Free", ""); err != nil {
		t.Fatal(err)
	}
	h.grant(t, "Free", storage.AllRights)
	for _, row := range rules {
		for right := storage.Rights(1); right <= a; right <<= 1 {
			if row.selected && right == r {
				continue // who cannot read is sent away
			}
			try(row, storage.AllRights&^right)
		}
		if row.selected {
			try(row, row.need|r)
			continue
		}
		try(row, row.need)
		try(row, row.need|l)
		try(row, 0)
		try(row, l)
		try(row, (storage.AllRights&^row.need)&^l)
	}
}

// MYRIGHTS needs one of l, r, i, k, x and a, whichever (RFC 4314 section 4).
func TestMyRights(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	joe := h.talker(t, "joe")
	for right := storage.Rights(1); right <= a; right <<= 1 {
		h.grant(t, "Archive", right)
		answer := joe.do("MYRIGHTS Shared/ann@example.test/Archive")
		want := "* MYRIGHTS Shared/ann@example.test/Archive " + right.String() + "\r\ntagged OK"
		if right&(s|w|storage.MayPost|m|e) != 0 {
			want = "tagged NO [NONEXISTENT] No such mailbox"
		}
		if !strings.HasPrefix(answer, want) {
			t.Errorf("%q: %q", right, answer)
		}
	}
}

// Flags without right are left out by APPEND and COPY, and a STORE changes those it may (RFC 4314 section 4).
func TestRightsOfFlags(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	joe := h.talker(t, "joe")
	h.put(t, "joe", "INBOX", "Subject: x\r\n\r\n")
	const all = `(\Seen \Answered \Flagged \Deleted \Draft word)`
	joe.do("SELECT INBOX")
	joe.do("STORE 1 FLAGS " + all)
	for _, row := range []struct {
		have storage.Rights
		want string
	}{
		{0, `()`},
		{s, `(\Seen)`},
		{m, `(\Deleted)`},
		{w, `(\Answered \Flagged \Draft word)`},
		{s | m, `(\Seen \Deleted)`},
		{s | m | w, all},
	} {
		for _, command := range []string{"COPY 1 @", "APPEND @ " + all + " {3+}\r\nabc"} {
			name := fmt.Sprintf("F%s%.4s", row.have, command)
			if _, err := h.store.CreateMailbox(t.Context(), h.accounts["ann"].ID, name, ""); err != nil {
				t.Fatal(err)
			}
			h.grant(t, name, row.have|i|r)
			shared := "Shared/ann@example.test/" + name
			joe.do("SELECT INBOX")
			if answer := joe.do(strings.ReplaceAll(command, "@", shared)); !strings.Contains(answer, "tagged OK") {
				t.Errorf("%s with %s: %s", command, row.have, answer)
			}
			joe.do("EXAMINE " + shared)
			if answer := joe.do("FETCH 1 FLAGS"); !strings.HasPrefix(answer, "* 1 FETCH (FLAGS "+row.want+")\r\n") {
				t.Errorf("%s with %s: %s", command, row.have, answer)
			}
			// A STORE of the opposite: what may not be changed stays.
			if row.have == 0 {
				continue
			}
			h.grant(t, name, storage.AllRights)
			joe.do("SELECT " + shared)
			joe.do("STORE 1 FLAGS " + all)
			h.grant(t, name, row.have|r)
			joe.do("NOOP")
			left := strings.Trim(all, "()")
			for _, f := range strings.Fields(strings.Trim(row.want, "()")) {
				left = strings.Replace(left, f, "", 1)
			}
			want := "(" + strings.Join(strings.Fields(left), " ") + ")"
			if answer := joe.do("STORE 1 FLAGS ()"); !strings.HasPrefix(answer, "* 1 FETCH (FLAGS "+want+")\r\n") {
				t.Errorf("STORE FLAGS () with %s: %s, want %s", row.have, answer, want)
			}
		}
	}
}

// However a client spells a name, a mailbox is made below the one whose rights were looked at.
func TestCreateSpelledOtherwise(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	owner := storagetest.Account(t, h.store, "jörg@example.test")
	h.accounts["jörg"] = owner
	for _, name := range []string{"Träger", "INBOX/Träger"} {
		if _, err := h.store.CreateMailbox(t.Context(), owner.ID, name, ""); err != nil {
			t.Fatal(err)
		}
		c := storage.ACLChange{Grant: storage.Grant{Account: h.accounts["joe"].ID, Rights: l | r | k | x}}
		if err := h.store.SetACL(t.Context(), owner.ID, h.box(t, "jörg", name).ID, c); err != nil {
			t.Fatal(err)
		}
	}
	joe := h.talker(t, "joe")
	joe.do("ENABLE UTF8=ACCEPT")
	const wide = "Shared/jo\u0308rg@example.test/" // NFD: longer than the name is
	for _, row := range []struct{ command, made string }{
		{`CREATE "` + wide + "Tra\u0308ger/a\"", "Träger/a"},
		{`CREATE "` + wide + "inbox/Tra\u0308ger/b\"", "INBOX/Träger/b"},
		{`RENAME "` + wide + "Tra\u0308ger/a\" \"" + wide + "Tra\u0308ger/c\"", "Träger/c"},
		{`RENAME "Shared/jörg@example.test/Träger/c" "` + wide + "InBoX/Träger/d\"", "INBOX/Träger/d"},
	} {
		before, err := h.store.Names(t.Context(), owner.ID)
		if err != nil {
			t.Fatal(err)
		}
		if answer := joe.do(row.command); !strings.Contains(answer, "tagged OK") {
			t.Errorf("%s: %s", row.command, answer)
		}
		h.box(t, "jörg", row.made)
		after, err := h.store.Names(t.Context(), owner.ID)
		if err != nil || len(after) > len(before)+1 {
			t.Errorf("%s made more than one: %v, %v", row.command, after, err)
		}
	}
	for _, command := range []string{`CREATE "` + wide + "x\"", `CREATE "` + wide + "inbox/x\"", `CREATE "` + wide + "../x\"", `CREATE "` + wide + "/x\"", `CREATE "` + wide + "Tra\u0308ger/../x\"", `CREATE "` + wide + "Tra\u0308ger//x\""} {
		if answer := joe.do(command); !strings.Contains(answer, "tagged NO ") {
			t.Errorf("%s: %s", command, answer)
		}
	}
}
