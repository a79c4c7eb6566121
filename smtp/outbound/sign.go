package outbound

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-msgauth/dkim"
	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// SignOptions of a Signer; the zero value is usable.
type SignOptions struct {
	Logger   *slog.Logger
	Name     string        // the authserv-id of the Authentication-Results that we write; "" means localhost
	Resolver dns.Resolver  // for chains that nobody has looked at yet (nil: they are taken for broken) and for records of new keys (nil: they never sign)
	Expire   time.Duration // x= is this long after t=; 0: no x=
	Now      func() time.Time
	Rotate   time.Duration // keys are replaced when they are this old; 0: never
	NoSign   bool          // nothing is signed
	NoSeal   bool          // nothing is sealed
}

// Signer makes DKIM signatures (RFC 6376, RFC 8463) with the keys of our domains, and ARC sets (RFC 8617) for what is passed on. One value serves all workers.
type Signer struct {
	store *storage.Store
	o     SignOptions

	mu    sync.Mutex
	epoch uint64                  // of the keys
	keys  map[string][]signingKey // by domain; none: the domain is not ours
	made  map[string]madeFields   // by Sign's and Seal's key
	older map[string]madeFields   // those before them, which go when made is full
}

// signingKey is an active key, ready for use.
type signingKey struct {
	selector  string
	algorithm string
	key       crypto.Signer
}

// madeFields are what was made for a message.
type madeFields struct {
	fields []byte
	at     time.Time
}

const (
	madeMax  = 1024      // messages in each of made and older, a few KiB each
	madeAge  = time.Hour // and for how long: t= is a time
	keysMax  = 1000      // domains whose keys are kept
	maxSized = 1 << 20   // of a header that is signed
)

// NewSigner makes one.
func NewSigner(store *storage.Store, o SignOptions) *Signer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Name == "" {
		o.Name = "localhost"
	}
	return &Signer{store: store, o: o, keys: map[string][]signingKey{}, made: map[string]madeFields{}}
}

// Sign makes the fields that go in front of a message: a signature of each algorithm by the domain of its From field if that is ours, else by
// the envelope sender's. No fields and no error when neither is, or when it has no From field or several (RFC 5322 section 3.6). message holds size bytes in the form in which they are
// sent (re-encoded, lines folded, dots not doubled). key names that form (the outbox id and what was done to it): what was made for a key is given again for a
// while, so that further attempts and domains cost nothing; "" keeps nothing. It is for what accounts of ours sent and what we wrote ourselves; what others sent
// is sealed.
func (s *Signer) Sign(ctx context.Context, key, sender string, message io.ReaderAt, size int64) ([]byte, error) {
	if s.o.NoSign {
		return nil, nil
	}
	return s.once(ctx, "sign "+key, key != "", func() ([]byte, error) { return s.sign(ctx, sender, message, size) })
}

// once gives what was made for a key, or makes it.
func (s *Signer) once(ctx context.Context, key string, keep bool, produce func() ([]byte, error)) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.refresh()
	m, ok := s.made[key]
	if !ok {
		m, ok = s.older[key]
	}
	epoch := s.epoch
	s.mu.Unlock()
	if ok && keep && s.o.Now().Sub(m.at) < madeAge {
		return m.fields, nil
	}
	fields, err := produce()
	if err != nil || !keep {
		return fields, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		if len(s.made) >= madeMax {
			s.made, s.older = map[string]madeFields{}, s.made
		}
		s.made[key] = madeFields{fields, s.o.Now()}
	}
	return fields, nil
}

// refresh forgets what was made with keys that changed since. With mu.
func (s *Signer) refresh() {
	if e := s.store.DKIMEpoch(); e != s.epoch {
		s.epoch = e
		clear(s.keys)
		clear(s.made)
		clear(s.older)
	}
}

func (s *Signer) sign(ctx context.Context, sender string, message io.ReaderAt, size int64) ([]byte, error) {
	header, body, err := readHeader(message, size)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	fields := verify.HeaderFields(header)
	domain, keys, err := s.signs(ctx, fields, sender)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	out, err := s.signatures(domain, keys, fields, io.NewSectionReader(message, body, size-body))
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return out, nil
}

// signatures makes a signature with each key, in one pass over the body. Both forms are relaxed: others fold fields and change white space.
func (s *Signer) signatures(domain string, keys []signingKey, fields []verify.HeaderField, body io.Reader) ([]byte, error) {
	var signers []*dkim.Signer
	var writers []io.Writer
	defer func() {
		for _, g := range signers {
			g.Close() // a second time does nothing
		}
	}()
	for _, k := range keys {
		o := dkim.SignOptions{Domain: domain, Selector: k.selector, Signer: k.key, Hash: crypto.SHA256, HeaderKeys: verify.SignedNames(fields),
			HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed}
		if s.o.Expire > 0 {
			o.Expiration = s.o.Now().Add(s.o.Expire)
		}
		g, err := dkim.NewSigner(&o)
		if err != nil {
			return nil, err
		}
		signers, writers = append(signers, g), append(writers, g)
	}
	w := io.MultiWriter(writers...)
	for _, f := range fields {
		if f.Name == "" {
			continue // no field: it is sent, and signed by nobody
		}
		if _, err := w.Write(f.Raw); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(w, "\r\n"); err != nil {
		return nil, err
	}
	if _, err := io.Copy(w, body); err != nil {
		return nil, err
	}
	var out []byte
	for _, g := range signers {
		if err := g.Close(); err != nil {
			return nil, err
		}
		out = append(out, g.Signature()...)
	}
	return out, nil
}

// signs finds the domain that signs a message and its keys; none when nobody does.
func (s *Signer) signs(ctx context.Context, fields []verify.HeaderField, sender string) (string, []signingKey, error) {
	var domains []string
	froms := 0
	for _, f := range fields {
		if f.Name == "from" {
			froms++
			domains = append(domains, authorDomains(f.Raw)...)
		}
	}
	if froms != 1 {
		return "", nil, nil
	}
	if _, d, err := storage.ParseAddress(sender); err == nil {
		domains = append(domains, d)
	}
	for _, d := range domains {
		name, keys, err := s.active(ctx, d)
		if err != nil || len(keys) > 0 {
			return name, keys, err
		}
	}
	return "", nil, nil
}

// maxAuthors of a From field are looked at.
const maxAuthors = 10

// authorDomains are the domains of the addresses of a From field, in order.
func authorDomains(raw []byte) []string {
	x := mime.NewIndexer(mime.Limits{})
	x.Write(raw)
	x.Write([]byte("\r\n"))
	e := x.Finish().Root.Envelope
	if e == nil {
		return nil
	}
	var all []string
	for _, a := range e.From {
		if a.Host != "" && a.Host != mime.MissingDomain && len(all) < maxAuthors {
			all = append(all, a.Host)
		}
	}
	return all
}

// active are the keys that sign for a domain, with its name as it is in the DNS; none when it is not ours.
func (s *Signer) active(ctx context.Context, domain string) (string, []signingKey, error) {
	_, name, err := storage.ParseAddress("x@" + domain)
	if err != nil {
		return "", nil, nil
	}
	s.mu.Lock()
	s.refresh()
	keys, ok := s.keys[name]
	epoch := s.epoch
	s.mu.Unlock()
	if ok {
		return name, keys, nil
	}
	all, err := s.store.DKIMKeys(ctx, name)
	if err != nil && !errors.Is(err, storage.ErrNotLocal) {
		return "", nil, err
	}
	for _, k := range all {
		if k.State != storage.DKIMActive {
			continue
		}
		private, err := k.Signer()
		if err != nil {
			return "", nil, err
		}
		keys = append(keys, signingKey{k.Selector, k.Algorithm, private})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refresh(); s.epoch == epoch {
		if len(s.keys) >= keysMax {
			clear(s.keys)
		}
		s.keys[name] = keys
	}
	return name, keys, nil
}

// readHeader reads a message's header into memory, with the CRLF of its last line, and tells where the body begins.
func readHeader(message io.ReaderAt, size int64) (header []byte, body int64, err error) {
	n := min(size, 16<<10)
	for {
		buf := make([]byte, n)
		if k, err := message.ReadAt(buf, 0); int64(k) < n {
			return nil, 0, err
		}
		switch i := bytes.Index(buf, []byte("\r\n\r\n")); {
		case bytes.HasPrefix(buf, []byte("\r\n")):
			return nil, 2, nil
		case i >= 0:
			return buf[:i+2], int64(i) + 4, nil
		case n == size:
			return buf, size, nil
		case n >= maxSized:
			return nil, 0, fmt.Errorf("the header is longer than %d bytes", maxSized)
		}
		n = min(size, 8*n, maxSized)
	}
}

// domainOf is what is behind the last @.
func domainOf(addr string) string { return addr[strings.LastIndexByte(addr, '@')+1:] }
