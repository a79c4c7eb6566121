package imap

import (
	"errors"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// state of a connection (RFC 9051 section 3), as bits for the table.
type state uint8

const (
	notAuthenticated state = 1 << iota
	authenticated
	selected
	anyState = notAuthenticated | authenticated | selected
	loggedIn = authenticated | selected
)

// flags of a command.
type flags uint16

const (
	keepNumbers flags = 1 << iota // no EXPUNGE while it runs (RFC 9051 section 7.5.1)
	byUID                         // a UID command: its numbers are UIDs, and FETCH responses tell them
	writes                        // refused in a mailbox that is open read-only
	noUpdates                     // nothing is told at its end
	smallArgs                     // literals of at most 1 KiB, 4 KiB in all
	bigArgs                       // literals of up to 64 KiB: search strings
	expunges                      // the right e on the selected mailbox is needed (RFC 4314 section 4)
	marks                         // the right t is
	bounded                       // a search of which not everything may be looked at (RFC 9738)
	byNumber                      // it names messages by number, and so does its answer: refused once UIDONLY is enabled
	message                       // carries messages: those that are not wanted are skipped too
)

// command is a row of the table.
type command struct {
	name   string
	states state
	flags  flags
	run    func(*client, *task) error
}

// task is a command being run, and how its tagged OK will read.
type task struct {
	*command
	tag  string
	code string // response code of the tagged OK
	text string // "" means "NAME completed"

	// further codes: see codes
	numbers  bool   // message numbers are among the arguments of a UID command: none may change before its end (RFC 9051 section 7.5.1)
	expunged bool   // some of the messages no longer exist
	highest  bool   // HIGHESTMODSEQ
	lowest   uint32 // MESSAGELIMIT: the lowest UID that was processed; 0: all were
}

func (t *task) uid() bool { return t.flags&byUID != 0 }

// The commands. UID ones are found by both words.
var commands = table([]command{
	{"CAPABILITY", anyState, 0, (*client).capability},
	{"NOOP", anyState, 0, (*client).noop},
	{"LOGOUT", anyState, noUpdates, (*client).logout},
	{"ID", anyState, smallArgs, (*client).id},
	{"STARTTLS", notAuthenticated, 0, (*client).startTLS},
	{"LOGIN", notAuthenticated, smallArgs, (*client).login},
	{"AUTHENTICATE", notAuthenticated, smallArgs, (*client).authenticate},
	{"ENABLE", loggedIn, 0, (*client).enable},
	{"COMPRESS", loggedIn, 0, (*client).compress},
	{"UNAUTHENTICATE", loggedIn, noUpdates, (*client).unauthenticate},
	{"SELECT", loggedIn, noUpdates, (*client).selectCommand},
	{"EXAMINE", loggedIn, noUpdates, (*client).examine},
	{"CREATE", loggedIn, 0, (*client).create},
	{"DELETE", loggedIn, 0, (*client).deleteCommand},
	{"RENAME", loggedIn, 0, (*client).rename},
	{"SUBSCRIBE", loggedIn, 0, (*client).subscribe},
	{"UNSUBSCRIBE", loggedIn, 0, (*client).unsubscribe},
	{"LIST", loggedIn, 0, (*client).list},
	{"LSUB", loggedIn, 0, (*client).lsub},
	{"NAMESPACE", loggedIn, 0, (*client).namespace},
	{"STATUS", loggedIn, 0, (*client).status},
	{"APPEND", loggedIn, message, (*client).append},
	{"NOTIFY", loggedIn, 0, (*client).notifyCommand},
	{"IDLE", loggedIn, 0, (*client).idle},
	{"GETMETADATA", loggedIn, 0, (*client).getMetadata},
	{"SETMETADATA", loggedIn, bigArgs, (*client).setMetadata},
	{"GETQUOTA", loggedIn, 0, (*client).getQuota},
	{"SETQUOTA", loggedIn, 0, (*client).setQuota},
	{"GETQUOTAROOT", loggedIn, 0, (*client).getQuotaRoot},
	{"SETACL", loggedIn, 0, (*client).setACL},
	{"DELETEACL", loggedIn, 0, (*client).deleteACL},
	{"GETACL", loggedIn, 0, (*client).getACL},
	{"LISTRIGHTS", loggedIn, 0, (*client).listRights},
	{"MYRIGHTS", loggedIn, 0, (*client).myRights},
	{"CHECK", selected, 0, (*client).check},
	{"CLOSE", selected, noUpdates, (*client).closeCommand},
	{"UNSELECT", selected, noUpdates, (*client).unselectCommand},
	{"EXPUNGE", selected, writes | expunges, (*client).expunge},
	{"UID EXPUNGE", selected, writes | byUID | expunges, (*client).expunge},
	{"SEARCH", selected, keepNumbers | bigArgs | byNumber | bounded, (*client).search},
	{"UID SEARCH", selected, byUID | bigArgs | bounded, (*client).search},
	{"CANCELUPDATE", selected, 0, (*client).cancelUpdate},
	{"SORT", selected, keepNumbers | bigArgs | byNumber, (*client).sort},
	{"UID SORT", selected, byUID | bigArgs, (*client).sort},
	{"THREAD", selected, keepNumbers | bigArgs | byNumber, (*client).thread},
	{"UID THREAD", selected, byUID | bigArgs, (*client).thread},
	{"ESEARCH", loggedIn, byUID | bigArgs, (*client).multiSearch},
	{"FETCH", selected, keepNumbers | byNumber, (*client).fetch},
	{"UID FETCH", selected, byUID, (*client).fetch},
	{"STORE", selected, writes | keepNumbers | byNumber, (*client).store},
	{"UID STORE", selected, writes | byUID, (*client).store},
	{"COPY", selected, byNumber, (*client).copy},
	{"UID COPY", selected, byUID, (*client).copy},
	{"MOVE", selected, writes | byNumber | marks | expunges, (*client).move},
	{"UID MOVE", selected, writes | byUID | marks | expunges, (*client).move},
	{"REPLACE", selected, writes | byNumber | marks | expunges | message, (*client).replace},
	{"UID REPLACE", selected, writes | byUID | marks | expunges | message, (*client).replace},
})

func table(rows []command) map[string]*command {
	m := make(map[string]*command, len(rows))
	for i := range rows {
		m[rows[i].name] = &rows[i]
	}
	return m
}

// command reads, runs and answers the command whose first segment lies in the decoder.
func (c *client) command() error {
	t := &task{tag: c.d.Tag()}
	if t.tag == "" {
		return c.answer(t, c.d.Err())
	}
	c.d.SP()
	name := c.d.Word()
	if name == "UID" && c.d.SP() {
		name += " " + c.d.Word()
	}
	if c.d.Err() != nil {
		return c.answer(t, c.d.Err())
	}
	if t.command = commands[name]; t.command == nil || c.withholds(offers[name]) {
		t.command = nil
		return c.answer(t, &wire.Error{Text: "Unknown command"})
	}
	if t.states&c.state == 0 {
		return c.answer(t, &wire.Error{Text: misplaced(t.states)})
	}
	c.limits(t.flags)
	c.ses.Begin(name)
	err := c.execute(t)
	if err = c.answer(t, err); err == nil {
		c.ses.Done()
	}
	return err
}

// misplaced is what to say of a command in a state in which it may not come.
func misplaced(allowed state) string {
	switch allowed {
	case notAuthenticated:
		return "Already logged in"
	case selected:
		return "No mailbox is selected"
	}
	return "Log in first"
}

// limits sets what literals a command may have.
func (c *client) limits(f flags) {
	c.d.DrainMax = 0
	if f&message != 0 {
		c.d.DrainMax = 2 * c.srv.o.MaxAppend
	}
	switch {
	case f&smallArgs != 0:
		c.d.LiteralMax, c.d.LiteralSum = 1<<10, 4<<10
	case f&bigArgs != 0:
		c.d.LiteralMax, c.d.LiteralSum = 64<<10, 256<<10
	default:
		c.d.LiteralMax, c.d.LiteralSum = 4<<10, 64<<10
	}
	c.d.NonSyncMax = 0
	if c.withholds("LITERAL+") {
		c.d.NonSyncMax = nonSyncMax
	}
	if c.state == notAuthenticated {
		c.d.LiteralSum = min(c.d.LiteralSum, 4<<10)
	}
}

// needs are the rights on the selected mailbox without which the command is refused.
func (t *task) needs() (need storage.Rights) {
	if t.flags&expunges != 0 {
		need |= storage.MayExpunge
	}
	if t.flags&marks != 0 {
		need |= storage.MayMark
	}
	return need
}

func (c *client) execute(t *task) error {
	if t.flags&byNumber != 0 && c.uidOnly {
		return errUIDRequired // RFC 9586 section 3.2
	}
	if t.flags&writes != 0 && c.view.readOnly {
		return &wire.Error{No: true, Code: "READ-ONLY", Text: "Mailbox is open read-only"}
	}
	if t.flags&noUpdates == 0 { // the others leave the mailbox
		if err := c.recheck(); err != nil {
			return err
		}
	}
	if need := t.needs(); need != 0 && !c.view.rights().Has(need) {
		return errNoPerm
	}
	if err := t.run(c, t); err != nil {
		return err
	}
	return c.d.Err()
}

// answer ends a command: its rest is skipped, updates are told, the tagged response given.
func (c *client) answer(t *task, err error) error {
	if errors.Is(err, errAnswered) {
		return nil
	}
	if errors.Is(err, errClosed) {
		return err
	}
	fin := c.d.Finish()
	var lost *wire.Error
	if fin != nil && !errors.As(fin, &lost) {
		return fin
	}
	if err == nil {
		err = c.e.Err()
	}
	if c.view != nil && t.command != nil && t.flags&noUpdates == 0 && (c.wants(wire.MessageEvents) || t.flags&(writes|byUID) != 0) {
		if err := c.sync(t.flags&keepNumbers == 0 && !t.numbers, t.uid()); err != nil {
			return err
		}
		c.tellBehind()
	}
	if t.command != nil && t.flags&noUpdates == 0 {
		if err := c.tellNoted(); err != nil {
			return err
		}
	}
	if err == nil {
		c.badRow = 0
		c.ok(t)
		return nil
	}
	if err := c.refuse(t, err); err != nil || lost == nil {
		return err
	}
	return &errBye{code: lost.Code, text: lost.Text}
}

func (c *client) ok(t *task) {
	c.codes(t)
	c.e.Raw(t.tag, " OK ")
	c.code(t.code)
	if t.text != "" {
		c.e.Raw(t.text).CRLF()
		return
	}
	c.e.Raw(t.name, " completed").CRLF()
}

// refuse answers a command that failed, and counts the bad ones.
func (c *client) refuse(t *task, err error) error {
	r := c.reply(err)
	if r.fatal != nil {
		return r.fatal
	}
	tag := t.tag
	if tag == "" {
		tag = "*" // RFC 9051 section 7.1.3: an untagged BAD when the tag cannot be told
	}
	c.e.Raw(tag, " ", r.kind, " ")
	c.code(r.code)
	c.e.Raw(r.text).CRLF()
	if r.close {
		return &errBye{text: r.text}
	}
	if r.kind != "BAD" {
		c.badRow = 0
		return nil
	}
	c.badRow++
	if c.badRow >= maxBad || c.state == notAuthenticated && c.badRow >= maxBadLogin {
		return &errBye{text: "Too many bad commands"}
	}
	return nil
}
