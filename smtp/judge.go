package smtp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// JudgeOptions say what is asked about mail before it is taken; the zero value asks nothing.
type JudgeOptions struct {
	// Trusted are the networks of relays of ours: what comes from them is taken as it is, and their Authentication-Results stand.
	Trusted  []netip.Prefix
	Verify   VerifyOptions
	Rates    RateOptions
	Weights  Weights
	Greylist GreylistOptions
	// FirstDelay is how long the first message of a sender for an account waits before it is taken, at most 2 min; 0: not at all.
	FirstDelay time.Duration
	// Own are names that nobody but us says in HELO, beside Options.Name.
	Own []string
	// Filters are asked in this order, each about the message as the one before it left it.
	Filters []Filter
	Reports Reporter // hears what became of messages; nil: nobody does
	Logger  *slog.Logger
	Now     func() time.Time
}

// Judge decides about mail before it is taken. One Judge serves any number of Servers; it is safe for concurrent use.
type Judge struct {
	o     JudgeOptions
	rates *rates
	dns   dnsKnown
	asks  bool // there is something to be asked about a message
}

// NewJudge returns a Judge.
func NewJudge(o JudgeOptions) *Judge {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Verify.DMARC = cmp.Or(o.Verify.DMARC, Enforce)
	o.Verify.SPF = cmp.Or(o.Verify.SPF, Score)
	o.Greylist = o.Greylist.withDefaults()
	o.FirstDelay = min(o.FirstDelay, 2*time.Minute)
	return &Judge{o: o, rates: newRates(o.Rates, o.Now),
		asks: o.Verify.Verifier != nil || len(o.Filters) > 0 || o.Greylist.On || o.FirstDelay > 0 || o.Weights.Junk > 0 || o.Weights.Refuse > 0}
}

// Close gives up what filters hold when nobody asks them any more.
func (j *Judge) Close() {
	for _, f := range j.o.Filters {
		if c, ok := f.(interface{ Close() }); ok {
			c.Close()
		}
	}
}

// judgement is what was found of a message. deliver reads it.
type judgement struct {
	Junk    bool           // into the mailbox with the use \Junk
	Discard bool           // taken and thrown away: a filter said so
	Score   float64        // the sum of what counts against it
	Reasons []string       // in words, for who asks why
	report  bool           // it says of itself that it is a report about mail or TLS
	sealer  string         // whose ARC chain was believed
	proved  bool           // whose mail it is was shown, or the peer is on a good list
	Result  *verify.Result // nil: nobody was asked
	Fields  []byte         // what goes in front of the message, behind the trace fields: Authentication-Results
}

func (v *judgement) because(reason string) { v.Reasons = append(v.Reasons, reason) }

// judged tells whether the message is looked at before it is taken.
func (t *transaction) judged() bool {
	j := t.c.srv.o.Judge
	return j != nil && j.asks && !j.trusts(t.c.remote())
}

// trusts tells whether a peer is a relay of ours.
func (j *Judge) trusts(a netip.Addr) bool {
	for _, p := range j.o.Trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// remote is the peer's address as networks are compared with.
func (c *client) remote() netip.Addr { return c.ses.Remote().Addr().Unmap().WithZone("") }

// spooled takes the whole message, has it judged and writes it.
func (t *transaction) spooled(ctx context.Context, h *header, added []byte, body io.Reader) (*storage.Upload, error) {
	s := &spool{store: t.c.srv.store}
	defer func() { s.close() }()
	if _, err := s.Write(bytes.TrimPrefix(h.rest, crlf)); err != nil {
		return nil, err
	}
	if !h.ended {
		if _, err := s.ReadFrom(body); err != nil {
			return nil, err
		}
	}
	h.rest = crlf
	var err error
	if s, err = t.judge(ctx, h, s); err != nil {
		return nil, err
	}
	u, err := t.fill(ctx, append(t.top(t.verdict.Fields), added...), h, s.Size(), func(u *storage.Upload) error {
		_, err := s.WriteTo(u)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := u.SetVerdict(t.verdict.row()); err != nil {
		t.c.log.Error("failed", "doing", "verdict of a message", "queue", t.queue, "error", err)
	}
	return u, nil
}

// filtersTime is how long all filters may take together: a sender waits 10 minutes for the reply (RFC 5321 section 4.5.3.2.6).
const filtersTime = 4 * time.Minute

// judge asks everybody. An error refuses the message; the spool is the message's body from here on.
func (t *transaction) judge(ctx context.Context, h *header, s *spool) (*spool, error) {
	j := t.c.srv.o.Judge
	t.verdict = &judgement{}
	t.weigh()
	if r := t.verify(ctx, h, s); r != nil {
		return s, r
	}
	t.unclaim(h)
	if r := t.sum(); r != nil {
		return s, r
	}
	if r := t.greylist(ctx); r != nil {
		return s, r
	}
	asking, cancel := context.WithTimeout(ctx, filtersTime)
	defer cancel()
	for _, f := range j.o.Filters {
		var r *reply
		if s, r = t.filter(asking, f, t.examined(h, s), h, s); r != nil {
			return s, r
		}
	}
	if t.verdict.Junk || t.verdict.Discard {
		return s, nil
	}
	return s, t.stranger(ctx)
}

// examined is the message as a filter sees it. The empty line is none of its body.
func (t *transaction) examined(h *header, s *spool) *Examined {
	c := t.c
	m := &Examined{
		Queue: t.queue, Session: c.ses.ID(), Server: c.srv.o.Name, Remote: c.ses.Remote(), Helo: c.helo, From: t.sender.path,
		Header: h.headerFields(), Body: s, Size: s.Size(),
	}
	if t.verdict.Result != nil {
		m.Host = t.verdict.Result.IPRev.Name
	}
	if c.account != nil {
		m.User = c.account.Name
	}
	for _, r := range t.recipients {
		m.Recipients = append(m.Recipients, r.path)
	}
	if cs, ok := c.ses.TLS(); ok {
		m.TLS, m.TLSVersion = tls.CipherSuiteName(cs.CipherSuite), tls.VersionName(cs.Version)
	}
	return m
}

// results is the value of the Authentication-Results field, "" without one.
func (v *judgement) results() string {
	_, value, _ := strings.Cut(string(v.Fields), ":")
	return strings.Join(strings.Fields(value), " ")
}

// row is the verdict as it stays with the message.
func (v *judgement) row() []byte {
	row := struct {
		Junk    bool           `json:"junk,omitempty"`
		Score   float64        `json:"score,omitempty"`
		Reasons []string       `json:"reasons,omitempty"`
		Results string         `json:"results,omitempty"`
		Verify  *verify.Result `json:"verify,omitempty"`
	}{v.Junk, v.Score, v.Reasons, v.results(), v.Result}
	b, err := json.Marshal(row)
	if err == nil && len(b) > maxRow {
		row.Verify, row.Results = nil, clean(row.Results, 4096)
		b, err = json.Marshal(row)
	}
	if err != nil {
		return nil // a score that is no number
	}
	return b
}

// maxRow is how long a verdict may be to be kept whole.
const maxRow = 32 << 10

// makeJunk makes the mailbox for junk of an account that has none: "Junk", or another name when that one is in use otherwise.
func (l *letter) makeJunk(ctx context.Context, account int64, all []storage.Name) (int64, error) {
	taken := map[string]bool{}
	for _, m := range all {
		taken[strings.ToLower(m.Name)] = true
	}
	name := "Junk"
	for i := 2; taken[strings.ToLower(name)]; i++ {
		name = "Junk " + itoa(i)
	}
	m, err := l.srv.store.CreateMailbox(ctx, account, name, "Junk")
	if errors.Is(err, fs.ErrExist) || errors.Is(err, storage.ErrConflict) {
		err = say(451, "4.2.1", "mailbox is being made, try again") // another session was faster
	}
	return m.ID, err
}
