package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// oversigned are the fields that a signature covers one time more than they are there, so that none can be added to a message that is replayed (RFC 6376 sections
// 5.4.2 and 8.15).
var oversigned = []string{"From", "To", "Cc", "Subject", "Date", "Message-ID", "Reply-To", "In-Reply-To", "References",
	"MIME-Version", "Content-Type", "Content-Transfer-Encoding"}

// signed are covered as often as they are there (RFC 6376 section 5.4.1). A mailing list that leaves the message as it is adds List-* fields and perhaps Sender or Resent-*:
// that must not break its author's signature.
var signed = []string{"Sender", "Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
	"List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
	"Content-ID", "Content-Description", "Content-Disposition", "Content-Language", "TLS-Required", "TLS-Report-Domain", "TLS-Report-Submitter"}

// maxInstances of one field are covered.
const maxInstances = 8

// SignedNames are the names for h= of a signature over the fields, with extra ones that are covered as often as they are there.
func SignedNames(fields []HeaderField, extra ...string) []string {
	count := map[string]int{}
	for _, f := range fields {
		count[f.Name]++
	}
	var names []string
	add := func(name string, n int) {
		for range min(n, maxInstances) {
			names = append(names, name)
		}
	}
	for _, name := range oversigned {
		add(name, count[strings.ToLower(name)]+1)
	}
	for _, name := range append(extra, signed...) {
		add(name, count[strings.ToLower(name)])
	}
	return names
}

// Signing is a signature to be made over fields and a body's hash, both in relaxed form: DKIM-Signature (RFC 6376) or ARC-Message-Signature (RFC 8617 section 4.1.2).
type Signing struct {
	Field            string // name of the field
	First            string // its first tag: "v=1" or "i=1"
	Domain, Selector string
	Key              crypto.Signer // *rsa.PrivateKey or ed25519.PrivateKey
	At               time.Time
	Expire           time.Duration // x= is this long after t=; 0: no x=
	BodyHash         []byte
	Names            []string // SignedNames
}

// Make makes the field, with CRLF at its end.
func (s Signing) Make(fields []HeaderField) ([]byte, error) {
	algorithm, err := algorithmOf(s.Key)
	if err != nil {
		return nil, err
	}
	f := &folder{}
	f.add(s.Field+": "+s.First+";", "a="+algorithm+";", "c=relaxed/relaxed;", "d="+s.Domain+";", "s="+s.Selector+";", fmt.Sprintf("t=%d;", s.At.Unix()))
	if s.Expire > 0 {
		f.add(fmt.Sprintf("x=%d;", s.At.Add(s.Expire).Unix()))
	}
	f.list("h=", s.Names, ":", ";")
	f.add("bh="+base64.StdEncoding.EncodeToString(s.BodyHash)+";", "b=")
	own := HeaderField{strings.ToLower(s.Field), f.out.Bytes()}
	return f.sign(s.Key, headerHash(fields, s.Names, own, "relaxed"))
}

// algorithmOf is a= for a key.
func algorithmOf(key crypto.Signer) (string, error) {
	if key == nil {
		return "", errors.New("no key")
	}
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		return "ed25519-sha256", nil
	}
	return "rsa-sha256", nil
}

// folder writes a field in lines of at most 78 bytes where that can be.
type folder struct {
	out  bytes.Buffer
	line int
}

// add writes words with a space, or the beginning of a line, before each but the first.
func (f *folder) add(words ...string) {
	for _, w := range words {
		switch {
		case f.out.Len() == 0:
		case f.line+1+len(w) > 78:
			f.out.WriteString("\r\n\t")
			f.line = 8
		default:
			f.out.WriteByte(' ')
			f.line++
		}
		f.out.WriteString(w)
		f.line += len(w)
	}
}

// list writes items as one word that may be folded before each.
func (f *folder) list(before string, items []string, sep, after string) {
	for i, item := range items {
		s := item + sep
		if i == len(items)-1 {
			s = item + after
		}
		if i == 0 {
			f.add(before + s)
			continue
		}
		if f.line+len(s) > 78 {
			f.out.WriteString("\r\n\t ")
			f.line = 9
		}
		f.out.WriteString(s)
		f.line += len(s)
	}
}

// sign appends a signature over the digest to the field, which ends in "b=".
func (f *folder) sign(key crypto.Signer, digest []byte) ([]byte, error) {
	hash := crypto.SHA256
	if _, ok := key.Public().(ed25519.PublicKey); ok {
		hash = 0 // RFC 8463 section 3: the hash itself is the message
	}
	b, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString(b)
	if f.line > 60 {
		f.out.WriteString("\r\n\t ")
		f.line = 9
	}
	for len(text) > 0 {
		n := min(78-f.line, len(text))
		f.out.WriteString(text[:n])
		if text = text[n:]; text != "" {
			f.out.WriteString("\r\n\t ")
			f.line = 9
		}
	}
	f.out.WriteString("\r\n")
	return f.out.Bytes(), nil
}

// Sealer is who seals messages that it passes on.
type Sealer struct {
	Domain, Selector string
	Key              crypto.Signer
	Results          string // what was found out when the message came, as in Authentication-Results: "mx.example; spf=pass ..."
	Chain            ARC    // what CheckARC said of it
	At               time.Time
}

// ErrUnsealable is Seal's error for a chain that cannot be continued: it was marked as failed before (RFC 8617 section 5.1 step 2), or has 50 sets.
var ErrUnsealable = errors.New("the chain cannot be continued")

// Seal makes the ARC set for a message that is passed on (RFC 8617 section 5.1): the three fields, to be put in front of it. The message must not be changed behind it.
func Seal(ctx context.Context, header []byte, body io.ReaderAt, size int64, s Sealer) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	fields := HeaderFields(header)
	n, cv := s.Chain.Instance+1, s.Chain.Status
	if n > maxARCSets || cv == ARCFail && marked(fields, s.Chain.Instance) {
		return nil, ErrUnsealable
	}
	algorithm, err := algorithmOf(s.Key)
	if err != nil {
		return nil, err
	}
	hash, err := BodyHash(io.NewSectionReader(body, 0, size), true)
	if err != nil {
		return nil, err
	}
	i := fmt.Sprintf("i=%d", n)
	own := &arcSet{}
	own.aar = HeaderField{fieldAAR, foldResults("ARC-Authentication-Results: "+i+";", s.Results)}
	ams, err := Signing{Field: "ARC-Message-Signature", First: i, Domain: s.Domain, Selector: s.Selector, Key: s.Key, At: s.At,
		BodyHash: hash, Names: SignedNames(fields, "DKIM-Signature")}.Make(fields)
	if err != nil {
		return nil, err
	}
	own.ams = HeaderField{fieldAMS, ams}
	f := &folder{}
	f.add("ARC-Seal: "+i+";", "a="+algorithm+";", fmt.Sprintf("t=%d;", s.At.Unix()), "cv="+cv+";", "d="+s.Domain+";", "s="+s.Selector+";", "b=")
	own.as = HeaderField{fieldAS, bytes.Clone(f.out.Bytes())}
	sets := []*arcSet{own}
	if cv == ARCPass { // RFC 8617 section 5.1.2: a broken chain is not covered
		before, err := collectARC(fields)
		if err != nil {
			return nil, err
		}
		sets = append(before, own)
	}
	seal, err := f.sign(s.Key, sealHash(sets))
	if err != nil {
		return nil, err
	}
	return slices.Concat(seal, own.ams.Raw, own.aar.Raw), nil
}

// marked tells whether the newest seal says that the chain failed.
func marked(fields []HeaderField, n int) bool {
	for _, f := range fields {
		if f.Name != fieldAS {
			continue
		}
		t, err := parseTags(f.value())
		if err != nil {
			continue
		}
		if at, err := instance(t["i"]); err == nil && at == n && strings.EqualFold(t["cv"], ARCFail) {
			return true
		}
	}
	return false
}

// foldResults writes results behind the beginning of a field, a line for each method.
func foldResults(begin, results string) []byte {
	var b bytes.Buffer
	b.WriteString(begin)
	for i, part := range strings.Split(strings.NewReplacer("\r", "", "\n", "").Replace(results), ";") {
		part = strings.TrimSpace(part)
		if i == 0 {
			b.WriteString(" " + part)
			continue
		}
		if part != "" {
			b.WriteString(";\r\n\t" + part)
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
