package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mjl-/mox/dns"
)

// The states of a chain (RFC 8617 section 4.4).
const (
	ARCNone = "none" // the message has no ARC fields
	ARCPass = "pass"
	ARCFail = "fail" // to be treated as none; the chain cannot be continued
)

// maxARCSets is how many sets a chain may have (RFC 8617 section 4.2.1).
const maxARCSets = 50

// ARC is what there is to say of the Authenticated Received Chain of a message (RFC 8617): who handled it on its way, and what they say they saw.
type ARC struct {
	Status string `json:"status,omitempty"` // ARCNone, ARCPass or ARCFail
	// Temporary: it failed because the DNS did not answer. RFC 8617 section 5.2.1: that is a failure like others for who writes it down; who
	// would accept or refuse a message for its chain had better ask again.
	Temporary bool  `json:"temporary,omitempty"`
	Err       error `json:"-"` // why it failed

	Instance   int      `json:"instance,omitempty"`    // the highest there is
	OldestPass int      `json:"oldest_pass,omitempty"` // the oldest instance whose AMS still verifies; 0: all do. Only with ARCPass
	Sets       []ARCSet `json:"sets,omitempty"`        // with ARCPass: instance 1 first
}

// ARCSet is one handler's testimony.
type ARCSet struct {
	Instance   int       `json:"instance"`
	Domain     string    `json:"domain"` // of its seal, as it stands there
	Selector   string    `json:"selector"`
	AuthServID string    `json:"authserv_id,omitempty"` // who checked
	Results    string    `json:"results,omitempty"`     // the rest of its ARC-Authentication-Results, unfolded: " ; spf=pass ..." as in RFC 8601
	Sealed     time.Time `json:"sealed,omitzero"`
}

// arcSet is one while it is looked at.
type arcSet struct {
	aar, ams, as             HeaderField
	relaxed                  []byte // the three of them, made when it is first needed
	results                  string
	amsTags, asTags          tags
	haveAAR, haveAMS, haveAS bool
}

// CheckARC verifies the chain of a message with a header and a body of size bytes. It asks the DNS for no more than two keys a set, stops at the first fault and
// reads the body at most twice.
func CheckARC(ctx context.Context, resolver dns.Resolver, header []byte, body io.ReaderAt, size int64) ARC {
	return checkARC(ctx, resolver, HeaderFields(header), body, size, time.Now())
}

func checkARC(ctx context.Context, resolver dns.Resolver, fields []HeaderField, body io.ReaderAt, size int64, now time.Time) ARC {
	sets, err := collectARC(fields)
	if err == nil && len(sets) == 0 {
		return ARC{Status: ARCNone}
	}
	c := arcCheck{picker: newPicker(fields), sets: sets, now: now,
		keys:   &keyring{resolver, map[string]foundKey{}},
		hashes: &bodyHashes{body, size, map[string][]byte{}}}
	oldest := 0
	if err == nil {
		err = c.structure()
	}
	if err == nil {
		oldest, err = c.messages(ctx)
	}
	if err == nil {
		err = c.seals(ctx)
	}
	res := ARC{Status: ARCPass, OldestPass: oldest, Instance: len(sets)}
	if err != nil {
		return ARC{Status: ARCFail, Err: err, Temporary: errors.Is(err, errNoAnswer), Instance: highestInstance(fields)}
	}
	for i, s := range sets {
		id, rest := splitAuthRes(s.results)
		at, _, _ := s.asTags.seconds("t")
		res.Sets = append(res.Sets, ARCSet{i + 1, noFWS(s.asTags["d"]), noFWS(s.asTags["s"]), id, rest, at})
	}
	return res
}

const (
	fieldAAR = "arc-authentication-results"
	fieldAMS = "arc-message-signature"
	fieldAS  = "arc-seal"
)

// collectARC puts the fields of sets together. RFC 8617 section 5.2 steps 1 and 3: each set has one of each, instances go from 1 to N.
func collectARC(fields []HeaderField) ([]*arcSet, error) {
	found := map[int]*arcSet{}
	for _, f := range fields {
		if f.Name != fieldAAR && f.Name != fieldAMS && f.Name != fieldAS {
			continue
		}
		n, s, err := addARC(found, f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		found[n] = s
	}
	sets := make([]*arcSet, len(found))
	for i := range sets {
		s := found[i+1]
		if s == nil {
			return nil, fmt.Errorf("set %d is missing", i+1)
		}
		if !s.haveAAR || !s.haveAMS || !s.haveAS {
			return nil, fmt.Errorf("set %d lacks a field", i+1)
		}
		sets[i] = s
	}
	return sets, nil
}

// addARC adds a field to its set.
func addARC(found map[int]*arcSet, f HeaderField) (int, *arcSet, error) {
	var t tags
	var n int
	var results string
	var err error
	if f.Name == fieldAAR {
		n, results, err = parseAAR(f.value())
	} else if t, err = parseTags(f.value()); err == nil {
		n, err = instance(t["i"])
	}
	if err != nil {
		return 0, nil, err
	}
	s := found[n]
	if s == nil {
		s = &arcSet{}
	}
	twice := false
	switch f.Name {
	case fieldAAR:
		twice, s.haveAAR, s.aar, s.results = s.haveAAR, true, f, results
	case fieldAMS:
		twice, s.haveAMS, s.ams, s.amsTags = s.haveAMS, true, f, t
	default:
		twice, s.haveAS, s.as, s.asTags = s.haveAS, true, f, t
	}
	if twice {
		return 0, nil, fmt.Errorf("instance %d comes twice", n)
	}
	return n, s, nil
}

// instance reads an instance number: one or two digits, 1 to 50.
func instance(v string) (int, error) {
	n, err := strconv.Atoi(v)
	if err != nil || len(v) > 2 || n < 1 || n > maxARCSets || v[0] == '+' {
		return 0, fmt.Errorf("%w: instance %.20q", errTags, v)
	}
	return n, nil
}

// parseAAR reads what ARC-Authentication-Results has before an Authentication-Results field: i=N; and gives the rest, unfolded.
func parseAAR(value []byte) (int, string, error) {
	head, rest, ok := strings.Cut(string(value), ";")
	name, v, eq := strings.Cut(dropComments(head), "=")
	if !ok || !eq || trimFWS(name) != "i" {
		return 0, "", fmt.Errorf("%w: it begins with no instance", errTags)
	}
	n, err := instance(trimFWS(v))
	if err == nil && trimFWS(rest) == "" {
		err = fmt.Errorf("%w: no results", errTags)
	}
	return n, strings.Join(strings.Fields(rest), " "), err
}

// dropComments takes comments out of a text that has nothing quoted.
func dropComments(s string) string {
	if !strings.Contains(s, "(") {
		return s
	}
	var b strings.Builder
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			i++
		case depth == 0:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// splitAuthRes cuts the authserv-id off.
func splitAuthRes(s string) (id, rest string) {
	id, rest, ok := strings.Cut(s, ";")
	if !ok {
		return trimFWS(id), ""
	}
	id, _, _ = strings.Cut(trimFWS(dropComments(id)), " ") // a version may follow it
	return id, ";" + rest
}

// highestInstance is the highest number that a field of a chain claims, however broken the chain is; 0: none.
func highestInstance(fields []HeaderField) int {
	highest := 0
	for _, f := range fields {
		n := 0
		switch f.Name {
		case fieldAAR:
			n, _, _ = parseAAR(f.value())
		case fieldAMS, fieldAS:
			if t, err := parseTags(f.value()); err == nil {
				n, _ = instance(t["i"])
			}
		}
		highest = max(highest, n)
	}
	return highest
}

// arcCheck is the state of one verification.
type arcCheck struct {
	picker *picker
	sets   []*arcSet
	now    time.Time
	keys   *keyring
	hashes *bodyHashes
}

// structure looks at everything that needs no key. RFC 8617 section 5.2 steps 2 and 3.
func (c *arcCheck) structure() error {
	for i, s := range c.sets {
		want := ARCPass
		if i == 0 {
			want = ARCNone
		}
		if cv := strings.ToLower(s.asTags["cv"]); cv != want {
			return fmt.Errorf("seal %d says cv=%.20q, not %s", i+1, cv, want)
		}
		// RFC 8617 section 4.1.3: h= makes the chain fail.
		if _, ok := s.asTags["h"]; ok {
			return fmt.Errorf("seal %d has h=", i+1)
		}
		if err := s.asTags.needs("a", "b", "d", "s"); err != nil {
			return fmt.Errorf("seal %d: %w", i+1, err)
		}
		if _, _, err := s.asTags.seconds("t"); err != nil {
			return fmt.Errorf("seal %d: %w", i+1, err)
		}
	}
	return nil
}

// needs checks that tags are there and that the algorithm is one of ours.
func (t tags) needs(names ...string) error {
	for _, n := range names {
		if noFWS(t[n]) == "" {
			return fmt.Errorf("%w: no %s=", errTags, n)
		}
	}
	if a := t.algorithm(); a != "rsa-sha256" && a != "ed25519-sha256" {
		return fmt.Errorf("algorithm %.20q", a)
	}
	return nil
}

// messages verifies the newest AMS, which must hold, and the older ones as far back as they do. RFC 8617 section 5.2 steps 4 and 5.
func (c *arcCheck) messages(ctx context.Context) (oldest int, err error) {
	for i := len(c.sets) - 1; i >= 0; i-- {
		err := c.message(ctx, c.sets[i])
		switch {
		case err == nil:
		case i == len(c.sets)-1:
			return 0, fmt.Errorf("message signature %d: %w", i+1, err)
		default:
			return i + 2, nil
		}
	}
	return 0, nil
}

// message verifies an AMS. RFC 8617 section 4.1.2: as a DKIM signature, without v=, and with another i=.
func (c *arcCheck) message(ctx context.Context, s *arcSet) error {
	t := s.amsTags
	if err := t.needs("a", "b", "bh", "d", "h", "s"); err != nil {
		return err
	}
	headerForm, bodyForm, err := t.canonical()
	if err != nil {
		return err
	}
	names := strings.Split(noFWS(t["h"]), ":")
	from := false
	for _, n := range names {
		from = from || strings.EqualFold(n, "from")
		if strings.EqualFold(n, fieldAS) {
			return errors.New("h= has arc-seal in it")
		}
	}
	if !from { // RFC 6376 section 5.4
		return errors.New("the From field is not signed")
	}
	// RFC 6376 section 8.2: who signs a part of the body lets others write the rest. Not accepted here.
	if _, ok := t["l"]; ok {
		return errors.New("it signs a part of the body only")
	}
	if _, _, err := t.seconds("t"); err != nil {
		return err
	}
	if x, ok, err := t.seconds("x"); err != nil || ok && c.now.After(x) {
		return errors.Join(err, errors.New("it has expired"))
	}
	if err := c.keys.check(ctx, t, c.picker.again().hash(names, s.ams, headerForm)); err != nil {
		return err
	}
	want, err := t.bytes64("bh")
	if err != nil {
		return err
	}
	have, err := c.hashes.get(bodyForm)
	if err == nil && !bytes.Equal(have, want) {
		err = errors.New("the body was changed")
	}
	return err
}

// seals verifies all seals, the newest first. RFC 8617 section 5.2 step 6.
func (c *arcCheck) seals(ctx context.Context) error {
	for i := len(c.sets) - 1; i >= 0; i-- {
		s := c.sets[i]
		if err := c.keys.check(ctx, s.asTags, sealHash(c.sets[:i+1])); err != nil {
			return fmt.Errorf("seal %d: %w", i+1, err)
		}
	}
	return nil
}

// sealHash is what the last of the sets' seals signs. RFC 8617 section 5.1.1: all fields of all sets in the relaxed form, oldest set first, in it AAR, AMS, AS; the
// last one without b= and CRLF.
func sealHash(sets []*arcSet) []byte {
	h := sha256.New()
	for i, s := range sets {
		if i < len(sets)-1 {
			if s.relaxed == nil {
				s.relaxed = slices.Concat(s.aar.Relaxed(), s.ams.Relaxed(), s.as.Relaxed())
			}
			h.Write(s.relaxed)
			continue
		}
		h.Write(s.aar.Relaxed())
		h.Write(s.ams.Relaxed())
		h.Write(bytes.TrimSuffix(s.as.withoutB().Relaxed(), []byte("\r\n")))
	}
	return h.Sum(nil)
}
