package sieve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// Message is what a script looks at.
type Message struct {
	Header []byte      // the header block, with the trace fields
	Body   io.ReaderAt // the whole message; nil: body tests find nothing
	Size   int64
	Index  *mime.Index // of Body; nil: as Body
}

// Env is where and for whom a script runs. Its functions may be nil.
type Env struct {
	From, To, Auth string    // envelope; "" is the null sender, or that nobody logged in
	Now            time.Time // zero: time.Now
	Mine           func(address string) bool
	// Exists tells whether the account has a mailbox that it may deliver into.
	Exists func(ctx context.Context, mailbox string) (bool, error)
	// Seen tells whether a message with that mark was here; marks are opaque.
	Seen   func(ctx context.Context, mark string) (bool, error)
	Host   string // name of the server
	Remote netip.Addr
	Helo   string
}

// DefaultSteps are what one run of a script may take.
const DefaultSteps = 5_000_000

// Limits of a run; zeroes are the defaults.
type Limits struct {
	Steps     int // 0 means DefaultSteps
	Redirects int // 0 means 5; RFC 5228 section 10: must be limited
	Actions   int // of all kinds; 0 means 32
}

// Mailing is a place that the message goes to.
type Mailing struct {
	Mailbox string // "" is the one where mail goes without a filter
	Flags   []string
	Create  bool
}

// Vacation is a reply that may be sent (RFC 5230); whether it is, is up to who runs the script, as Wanted tells of the message itself.
type Vacation struct {
	Reason, Subject, From string
	MIME                  bool
	Addresses             []string
	Mark                  string        // who got one with the same mark gets none
	Every                 time.Duration // for so long
}

// Mark is what is to be remembered when the message was delivered.
type Mark struct {
	ID  string
	For time.Duration
}

// Actions are what a script wants.
type Actions struct {
	Files     []Mailing // empty: the message stays nowhere
	Redirects []string
	Reject    string // reason; "" when not rejected
	Rejects   bool
	Vacation  *Vacation
	Marks     []Mark
	Implicit  bool // Files has the implicit keep
	Steps     int  // what it took
}

// Keep is what happens without a script.
func Keep() Actions { return Actions{Files: []Mailing{{}}, Implicit: true} }

// machine is a run.
type machine struct {
	ctx    context.Context
	s      *Script
	env    *Env
	msg    *Message
	limits Limits
	left   int // steps

	implicit  bool // keep
	flags     []string
	vars      map[string]string
	match     []string
	out       Actions
	actions   int
	vacations int
	header    map[string][]string
	bodies    map[string][]string
	bodyRead  int
}

var (
	errStop  = errors.New("stop")
	errSteps = errors.New("the script takes too long")
)

// Run runs a script. With an error, which is the script's fault or a failure of Env's functions, the actions are those of Keep: RFC 5228 section 2.10.6.
func (s *Script) Run(ctx context.Context, env Env, msg Message, l Limits) (out Actions, err error) {
	def(&l.Steps, DefaultSteps)
	def(&l.Redirects, 5)
	def(&l.Actions, 32)
	if env.Now.IsZero() {
		env.Now = time.Now()
	}
	m := &machine{ctx: ctx, s: s, env: &env, msg: &msg, limits: l, left: l.Steps, implicit: true}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("sieve: panic: %v", r)
		}
		if err != nil {
			out = Keep()
		}
		out.Steps = l.Steps - m.left
	}()
	if err := m.run(s.body); err != nil && !errors.Is(err, errStop) {
		return out, fmt.Errorf("sieve: %w", err)
	}
	if m.implicit {
		m.out.Implicit = true
		if err := m.file(Mailing{Flags: m.flags}); err != nil {
			return out, fmt.Errorf("sieve: %w", err)
		}
	}
	if m.out.Rejects && (len(m.out.Files) > 0 || len(m.out.Redirects) > 0 || m.out.Vacation != nil) {
		// RFC 5429 section 2.4.
		return out, fmt.Errorf("sieve: %w", wrong(0, "reject does not go with other actions"))
	}
	return m.out, nil
}

func def(n *int, v int) {
	if *n == 0 {
		*n = v
	}
}

// spend counts work.
func (m *machine) spend(n int) error {
	if m.left -= n; m.left < 0 {
		return errSteps
	}
	return nil
}

func (m *machine) run(body []action) error {
	for _, a := range body {
		if err := m.spend(16); err != nil {
			return err
		}
		if err := m.ctx.Err(); err != nil {
			return err
		}
		if err := a(m); err != nil {
			return err
		}
	}
	return nil
}

// count counts an action.
func (m *machine) count() error {
	if m.actions++; m.actions > m.limits.Actions {
		return wrong(0, "more than %d actions", m.limits.Actions)
	}
	return nil
}

// file adds a mailbox once (RFC 5228 section 2.10.3); flags of the last one count (RFC 5232 section 5).
func (m *machine) file(f Mailing) error {
	if err := m.count(); err != nil {
		return err
	}
	for i, have := range m.out.Files {
		if have.Mailbox == f.Mailbox {
			f.Create = f.Create || have.Create
			m.out.Files[i] = f
			return nil
		}
	}
	m.out.Files = append(m.out.Files, f)
	return nil
}

func (m *machine) redirect(addr string) error {
	if err := m.count(); err != nil {
		return err
	}
	for _, have := range m.out.Redirects {
		if strings.EqualFold(have, addr) {
			return nil
		}
	}
	if len(m.out.Redirects) >= m.limits.Redirects {
		return wrong(0, "more than %d redirects", m.limits.Redirects)
	}
	m.out.Redirects = append(m.out.Redirects, addr)
	return nil
}

// maxValue is how many bytes of a field are looked at, and maxFields how many fields of one name.
const (
	maxValue  = 64 << 10
	maxFields = 1000
)

// fields are the values of the fields of that name, unfolded and without the white space around them (section 2.4.2.2); still encoded.
func (m *machine) fields(name string) ([]string, error) {
	name = strings.ToLower(name)
	if v, ok := m.header[name]; ok {
		return v, nil
	}
	if err := m.spend(len(m.msg.Header)/64 + 1); err != nil {
		return nil, err
	}
	var all []string
	for n, raw := range mime.HeaderFields(m.msg.Header) {
		if len(all) < maxFields && strings.EqualFold(string(n), name) {
			v := mime.FieldValue(raw)
			if len(v) > maxValue {
				v = v[:maxValue]
			}
			all = append(all, strings.TrimSpace(string(mime.Unfold(nil, v))))
		}
	}
	if m.header == nil {
		m.header = map[string][]string{}
	}
	m.header[name] = all
	return all, nil
}
