package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mjl-/mox/dns"
)

var arcRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

var arcEd25519 = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, 32))

// keyRecord is the TXT record of a key.
func keyRecord(t testing.TB, public crypto.PublicKey) string {
	t.Helper()
	if p, ok := public.(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(p)
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der)
}

// arcDNS has the keys that the tests sign with.
func arcDNS(t testing.TB) dns.MockResolver {
	small, err := rsa.GenerateKey(insecureRand{}, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return dns.MockResolver{TXT: map[string][]string{
		"r._domainkey.one.example.":     {keyRecord(t, arcRSA().Public())},
		"r._domainkey.two.example.":     {keyRecord(t, arcRSA().Public())},
		"e._domainkey.two.example.":     {keyRecord(t, arcEd25519.Public())},
		"gone._domainkey.two.example.":  {"v=DKIM1; k=rsa; p="},
		"files._domainkey.two.example.": {keyRecord(t, arcRSA().Public()) + "; s=tlsrpt"},
		"sha1._domainkey.two.example.":  {strings.Replace(keyRecord(t, arcRSA().Public()), "k=rsa", "h=sha1; k=rsa", 1)},
		"other._domainkey.two.example.": {keyRecord(t, small.Public())},
	}, Fail: []string{"txt down._domainkey.two.example."}}
}

type insecureRand struct{}

func (insecureRand) Read(b []byte) (int, error) { return rand.Read(b) }

const arcMessage = "MIME-Version: 1.0\r\nFrom: Joe  <joe@author.example>\r\nTo: list@one.example\r\nSubject: a\r\n\tfolded  subject\r\n" +
	"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@author.example>\r\n\r\nA body  with spaces \r\n\r\nand lines\r\n\r\n\r\n"

var arcNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func check(t testing.TB, r dns.Resolver, message string) ARC {
	t.Helper()
	header, body := splitMessage(message)
	return checkARC(t.Context(), r, HeaderFields([]byte(header)), strings.NewReader(body), int64(len(body)), arcNow)
}

func splitMessage(m string) (header, body string) {
	i := strings.Index(m, "\r\n\r\n")
	if i < 0 {
		return m, ""
	}
	return m[:i+2], m[i+4:]
}

// seal adds a set to a message.
func seal(t testing.TB, r dns.Resolver, message, domain, selector string, key crypto.Signer) string {
	t.Helper()
	header, body := splitMessage(message)
	set, err := Seal(context.Background(), []byte(header), strings.NewReader(body), int64(len(body)), Sealer{
		Domain: domain, Selector: selector, Key: key, Results: "mx." + domain + "; spf=pass smtp.mailfrom=author.example;\r\n\tdkim=pass header.d=author.example",
		Chain: check(t, r, message), At: arcNow})
	if err != nil {
		t.Fatal(err)
	}
	return string(set) + message
}

// chain is a message that went over one.example and two.example.
func chain(t testing.TB, r dns.Resolver) string {
	m := seal(t, r, arcMessage, "one.example", "r", arcRSA())
	return seal(t, r, "Received: by two.example; Mon, 23 Nov 2026 12:00:00 +0000\r\n"+m, "two.example", "e", arcEd25519)
}

func TestARCPass(t *testing.T) {
	r := arcDNS(t)
	if got := check(t, r, arcMessage); got.Status != ARCNone || got.Err != nil || got.Instance != 0 {
		t.Errorf("without a chain: %+v", got)
	}
	m := chain(t, r)
	got := check(t, r, m)
	if got.Status != ARCPass || got.Instance != 2 || got.OldestPass != 0 || len(got.Sets) != 2 {
		t.Fatalf("%+v\n%s", got, m)
	}
	if s := got.Sets[0]; s.Domain != "one.example" || s.Selector != "r" || s.AuthServID != "mx.one.example" || !s.Sealed.Equal(arcNow) ||
		s.Results != "; spf=pass smtp.mailfrom=author.example; dkim=pass header.d=author.example" {
		t.Errorf("%+v", s)
	}
	for line := range strings.Lines(m) {
		if len(line) > 80 {
			t.Errorf("a line of %d bytes: %s", len(line), line)
		}
	}
	// RFC 8617 section 5.2 step 5: a handler that changes the body and seals breaks the older AMS, not the chain.
	changed := seal(t, r, strings.Replace(m, "and lines", "and lines, and a list's footer", 1), "two.example", "r", arcRSA())
	if got := check(t, r, changed); got.Status != ARCFail {
		t.Errorf("sealed with cv=fail: %+v", got)
	}
	header, body := splitMessage(strings.Replace(m, "and lines", "and a footer", 1))
	set, err := Seal(t.Context(), []byte(header), strings.NewReader(body), int64(len(body)), Sealer{Domain: "two.example", Selector: "r", Key: arcRSA(),
		Results: "mx.two.example; none", Chain: check(t, r, m), At: arcNow}) // what was checked is what came
	if err != nil {
		t.Fatal(err)
	}
	if got := check(t, r, string(set)+header+"\r\n"+body); got.Status != ARCPass || got.OldestPass != 3 {
		t.Errorf("a changed body: %+v", got)
	}
}

// TestARCFail: one fault each, as the steps of RFC 8617 section 5.2 find it.
func TestARCFail(t *testing.T) {
	r := arcDNS(t)
	m := chain(t, r)
	field := func(name string, i int) string {
		for _, f := range HeaderFields([]byte(m)) {
			if f.Name == name && strings.Contains(string(f.Raw), fmt.Sprintf("i=%d;", i)) {
				return string(f.Raw)
			}
		}
		t.Fatal("no", name, i)
		return ""
	}
	within := func(name string, i int, old, new string) string {
		f := field(name, i)
		if !strings.Contains(f, old) {
			t.Fatalf("no %q in %s", old, f)
		}
		return strings.Replace(m, f, strings.Replace(f, old, new, 1), 1)
	}
	flip := func(name string, i int) string { // one bit of b=
		f := field(name, i)
		at := strings.LastIndex(f, "b=") + 4
		c := byte('A')
		if f[at] == 'A' {
			c = 'B'
		}
		return strings.Replace(m, f, f[:at]+string(c)+f[at+1:], 1)
	}
	cases := map[string]string{
		"no AAR of set 1":            strings.Replace(m, field(fieldAAR, 1), "", 1),
		"no AMS of set 1":            strings.Replace(m, field(fieldAMS, 1), "", 1),
		"no AS of set 1":             strings.Replace(m, field(fieldAS, 1), "", 1),
		"no AS of set 2":             strings.Replace(m, field(fieldAS, 2), "", 1),
		"set 1 missing":              strings.Replace(strings.Replace(strings.Replace(m, field(fieldAAR, 1), "", 1), field(fieldAMS, 1), "", 1), field(fieldAS, 1), "", 1),
		"AAR twice":                  field(fieldAAR, 1) + m,
		"AMS twice":                  field(fieldAMS, 2) + m,
		"AS twice":                   field(fieldAS, 2) + m,
		"instance 0":                 within(fieldAS, 1, "i=1", "i=0"),
		"instance 51":                within(fieldAS, 1, "i=1", "i=51"),
		"instance of three digits":   within(fieldAS, 1, "i=1", "i=001"),
		"no number":                  within(fieldAMS, 1, "i=1", "i=x"),
		"AAR without instance":       within(fieldAAR, 1, "i=1;", ""),
		"AAR with nothing else":      strings.Replace(m, field(fieldAAR, 1), "ARC-Authentication-Results: i=1;\r\n", 1),
		"cv of set 1 is pass":        within(fieldAS, 1, "cv=none", "cv=pass"),
		"cv of set 2 is none":        within(fieldAS, 2, "cv=pass", "cv=none"),
		"cv of set 2 is fail":        within(fieldAS, 2, "cv=pass", "cv=fail"),
		"no cv":                      within(fieldAS, 2, "cv=pass;", ""),
		"seal with h=":               within(fieldAS, 2, "cv=pass;", "cv=pass; h=From;"),
		"seal without d=":            within(fieldAS, 2, "d=two.example;", ""),
		"seal without s=":            within(fieldAS, 2, "s=e;", ""),
		"seal with t= of letters":    within(fieldAS, 2, "t=", "t=x"),
		"seal by sha1":               within(fieldAS, 1, "rsa-sha256", "rsa-sha1"),
		"seal by another algorithm":  within(fieldAS, 2, "ed25519-sha256", "rsa-sha256"),
		"a tag twice":                within(fieldAS, 2, "s=e;", "s=e; s=e;"),
		"an empty tag":               within(fieldAS, 2, "s=e;", "s=e;;"),
		"b= of seal 2 flipped":       flip(fieldAS, 2),
		"b= of seal 1 flipped":       flip(fieldAS, 1),
		"b= of AMS 2 flipped":        flip(fieldAMS, 2),
		"b= of AMS 1 flipped":        flip(fieldAMS, 1), // by the seals
		"AAR 1 changed":              within(fieldAAR, 1, "spf=pass", "spf=fail"),
		"AAR 2 changed":              within(fieldAAR, 2, "dkim=pass", "dkim=fail"),
		"AMS 2 without bh=":          within(fieldAMS, 2, "bh=", "zz="),
		"AMS 2 of an unknown form":   within(fieldAMS, 2, "c=relaxed/relaxed", "c=relaxed/loose"),
		"AMS 2 with l=":              within(fieldAMS, 2, "c=relaxed/relaxed", "l=3; c=relaxed/relaxed"),
		"AMS 2 that covers the seal": within(fieldAMS, 2, "h=From:", "h=From:ARC-Seal:"),
		"AMS 2 without From":         within(fieldAMS, 2, "h=From:From:", "h="),
		"AMS 2 expired":              within(fieldAMS, 2, "c=relaxed", "x=1; c=relaxed"),
		"body changed":               strings.Replace(m, "and lines", "and liens", 1),
		"subject changed":            strings.Replace(m, "folded", "other", 1),
		"a second subject":           "Subject: b\r\n" + m,
		"a second From":              strings.Replace(m, "From: Joe", "From: eve@evil.example\r\nFrom: Joe", 1),
		"key of nobody":              within(fieldAS, 2, "s=e;", "s=nobody;"),
		"domain that is none":        within(fieldAS, 2, "d=two.example", "d=a b"),
		"no base64":                  within(fieldAS, 1, "b=", "b=!"),
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			if text == m {
				t.Fatal("nothing was changed")
			}
			if got := check(t, r, text); got.Status != ARCFail || got.Err == nil || got.Temporary || got.Sets != nil {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestARCKeys: keys that prove nothing (RFC 6376 section 6.1.2, RFC 8301).
func TestARCKeys(t *testing.T) {
	r := arcDNS(t)
	for selector, temporary := range map[string]bool{"gone": false, "files": false, "sha1": false, "other": false, "nobody": false, "down": true} {
		m := seal(t, r, arcMessage, "two.example", selector, arcRSA())
		if got := check(t, r, m); got.Status != ARCFail || got.Temporary != temporary {
			t.Errorf("%s: %+v", selector, got)
		}
	}
}

// TestParseKey: records that are keys, and those that are none (RFC 6376 section 3.6.1).
func TestParseKey(t *testing.T) {
	rsaRecord, edRecord := keyRecord(t, arcRSA().Public()), keyRecord(t, arcEd25519.Public())
	bare := base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(arcRSA().Public().(*rsa.PublicKey)))
	_, p, _ := strings.Cut(edRecord, "p=")
	for text, want := range map[string]bool{
		rsaRecord:                true,
		edRecord:                 true,
		edRecord + " ; ":         true,
		"p=" + bare:              true, // erratum 3017
		edRecord + "; s=a:Email": true,
		edRecord + "; s=*; h=sha1:\tSHA256; t=y:s; n=a note; later=1": true,
		"k=ed25519; p=" + p[:10] + "\r\n " + p[10:]:                   true,
		"":                              false,
		"p=":                            false,
		"v=DKIM1":                       false,
		"v=DKIM2; p=" + bare:            false,
		"v=DKIM1; k=rsa; p=" + p:        false,
		"v=DKIM1; k=dsa; p=" + bare:     false,
		"v=DKIM1; k=ed25519; p=" + bare: false,
		edRecord + "; h=sha1":           false,
		edRecord + "; s=tlsrpt":         false,
		edRecord + "!":                  false,
		edRecord + "; p=" + p:           false,
	} {
		if key, err := parseKey(text); (err == nil) != want || (key != nil) != want {
			t.Errorf("%q: %T %v", text, key, err)
		}
	}
}

// TestARCForms: what changes no meaning changes no verdict.
func TestARCForms(t *testing.T) {
	r := arcDNS(t)
	m := chain(t, r)
	for name, text := range map[string]string{
		"a field more":            "X-New: 1\r\n" + m,
		"other case of names":     strings.Replace(strings.Replace(m, "ARC-Seal:", "arc-SEAL:", 1), "\r\nSubject:", "\r\nSUBJECT :", 1),
		"folded elsewhere":        strings.Replace(m, "a\r\n\tfolded  subject", "a folded\r\n   subject", 1),
		"more spaces in the body": strings.Replace(m, "body  with spaces \r\n", "body \t with spaces\r\n", 1),
		"empty lines at the end":  m + "\r\n\r\n",
		"another order of the sets": func() string {
			h, b := splitMessage(m)
			f := HeaderFields([]byte(h))
			f[0], f[2] = f[2], f[0]
			var o bytes.Buffer
			for _, x := range f {
				o.Write(x.Raw)
			}
			return o.String() + "\r\n" + b
		}(),
	} {
		if got := check(t, r, text); got.Status != ARCPass {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestARCSealFail: a broken chain is marked once, by a set that stands for itself, and never continued (RFC 8617 sections 5.1 and 5.1.2).
func TestARCSealFail(t *testing.T) {
	r := arcDNS(t)
	broken := strings.Replace(chain(t, r), "spf=pass", "spf=fail", 1)
	m := seal(t, r, broken, "one.example", "r", arcRSA())
	first := HeaderFields([]byte(m))[0]
	if s := string(first.Raw); first.Name != fieldAS || !strings.Contains(s, "i=3;") || !strings.Contains(s, "cv=fail;") {
		t.Fatalf("%s", s)
	}
	var own arcSet
	for _, f := range HeaderFields([]byte(m))[:3] {
		switch f.Name {
		case fieldAS:
			own.as = f
			own.asTags, _ = parseTags(f.value())
		case fieldAMS:
			own.ams = f
		case fieldAAR:
			own.aar = f
		}
	}
	k := keyring{r, map[string]foundKey{}}
	if err := k.check(t.Context(), own.asTags, sealHash([]*arcSet{&own})); err != nil {
		t.Error("the seal covers its own set:", err)
	}
	header, body := splitMessage(m)
	if _, err := Seal(t.Context(), []byte(header), strings.NewReader(body), int64(len(body)), Sealer{Domain: "two.example", Selector: "e", Key: arcEd25519, Chain: check(t, r, m)}); !errors.Is(err, ErrUnsealable) {
		t.Error(err)
	}
	if _, err := Seal(t.Context(), nil, strings.NewReader(""), 0, Sealer{Key: arcEd25519, Chain: ARC{Status: ARCPass, Instance: 50}}); !errors.Is(err, ErrUnsealable) {
		t.Error("a 51st set:", err)
	}
}

// TestARCFifty: a chain of fifty sets holds, and costs fifty keys at most.
func TestARCFifty(t *testing.T) {
	r := arcDNS(t)
	m := arcMessage
	for range maxARCSets {
		m = seal(t, r, m, "two.example", "e", arcEd25519)
	}
	if got := check(t, r, m); got.Status != ARCPass || got.Instance != 50 {
		t.Errorf("%+v", got)
	}
	if got := check(t, r, strings.NewReplacer("i=50;", "i=51;").Replace(m)); got.Status != ARCFail {
		t.Errorf("%+v", got)
	}
}

// TestARCByOthers: three sets that dkimpy made.
func TestARCByOthers(t *testing.T) {
	message, err := os.ReadFile("testdata/arc-dkimpy.eml")
	if err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile("testdata/arc-dkimpy.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := dns.MockResolver{TXT: map[string][]string{}}
	for _, host := range []string{"one", "two", "three"} {
		r.TXT["s._domainkey."+host+".example."] = []string{strings.TrimSpace(string(record))}
	}
	got := check(t, r, string(message))
	if got.Status != ARCPass || got.Instance != 3 || got.OldestPass != 0 || got.Sets[2].AuthServID != "mx.three.example" {
		t.Errorf("%+v", got)
	}
	if got := check(t, r, strings.Replace(string(message), "Bye", "By", 1)); got.Status != ARCFail {
		t.Errorf("changed: %+v", got)
	}
}

// TestBodyHash: the canonical forms, whatever the pieces in which a body comes (RFC 6376 sections 3.4.3 to 3.4.5).
func TestBodyHash(t *testing.T) {
	for _, c := range []struct{ body, simple, relaxed string }{
		{"", "\r\n", ""},
		{"\r\n", "\r\n", ""},
		{"\r\n\r\n\r\n", "\r\n", ""},
		{" \t\r\n\r\n", " \t\r\n", ""},
		{" C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n", " C\r\nD E\r\n"}, // section 3.4.5
		{"no end", "no end\r\n", "no end\r\n"},
		{"no end ", "no end \r\n", "no end\r\n"},
		{"a\r\n\r\nb", "a\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"},
		{"\r\n\r\na\r\n", "\r\n\r\na\r\n", "\r\n\r\na\r\n"},
		{"a \r b\r\n", "a \r b\r\n", "a \r b\r\n"},
		{"a\nb \n\r\n", "a\nb \n\r\n", "a\nb \n\r\n"},
		{"a\r", "a\r\r\n", "a\r\r\n"},
		{"a \r\r\n", "a \r\r\n", "a \r\r\n"},
		{strings.Repeat("x", 20000) + "  y\r\n", strings.Repeat("x", 20000) + "  y\r\n", strings.Repeat("x", 20000) + " y\r\n"},
	} {
		for _, relaxed := range []bool{false, true} {
			want := sha256.Sum256([]byte(c.simple))
			if relaxed {
				want = sha256.Sum256([]byte(c.relaxed))
			}
			whole, err := BodyHash(strings.NewReader(c.body), relaxed)
			if err != nil || !bytes.Equal(whole, want[:]) {
				t.Errorf("%.40q, relaxed %v: differs (%v)", c.body, relaxed, err)
			}
			piece, err := BodyHash(iotest.OneByteReader(strings.NewReader(c.body)), relaxed)
			if err != nil || !bytes.Equal(piece, want[:]) {
				t.Errorf("%.40q in bytes, relaxed %v: differs (%v)", c.body, relaxed, err)
			}
		}
	}
}

func BenchmarkBodyHash(b *testing.B) {
	text := []byte(strings.Repeat("Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.\r\n", 14000))
	for name, body := range map[string][]byte{"text": text, "base64": bytes.ReplaceAll(text, []byte(" "), []byte("x"))} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				BodyHash(bytes.NewReader(body), true)
			}
		})
	}
}

// FuzzARC: no message makes the verifier fall over, and what it says holds together.
func FuzzARC(f *testing.F) {
	r := dns.MockResolver{TXT: map[string][]string{"e._domainkey.two.example.": {keyRecord(f, arcEd25519.Public())}}}
	f.Add(seal(f, r, seal(f, r, arcMessage, "two.example", "e", arcEd25519), "two.example", "e", arcEd25519))
	f.Add(arcMessage)
	f.Add("ARC-Seal: i=1; cv=none\r\nARC-Seal: =;\r\nARC-Authentication-Results: (\\\r\n\r\n")
	f.Fuzz(func(t *testing.T, m string) {
		got := check(t, r, m)
		if (got.Status == ARCFail) != (got.Err != nil) || (got.Status == ARCPass) != (len(got.Sets) > 0) || got.Instance < 0 || got.Instance > maxARCSets {
			t.Errorf("%+v", got)
		}
		header, body := splitMessage(m)
		set, err := Seal(t.Context(), []byte(header), strings.NewReader(body), int64(len(body)), Sealer{Domain: "two.example", Selector: "e", Key: arcEd25519, Results: "mx; none", Chain: got, At: arcNow})
		if err != nil {
			return
		}
		again := check(t, r, string(set)+m)
		if got.Status != ARCFail && again.Status != ARCPass && strings.Contains(header, "\nFrom:") && validLines(header) {
			t.Errorf("sealed: %+v", again)
		}
	})
}

// validLines tells whether a header is one that we would take: lines that end in CRLF, none of them odd.
func validLines(header string) bool {
	for _, f := range HeaderFields([]byte(header)) {
		if f.Name == "" || bytes.Count(f.Raw, []byte("\r\n")) != bytes.Count(f.Raw, []byte("\n")) || bytes.Count(f.Raw, []byte("\r")) != bytes.Count(f.Raw, []byte("\n")) || !bytes.HasSuffix(f.Raw, []byte("\r\n")) {
			return false
		}
	}
	return len(HeaderFields([]byte(header))) > 0 && strings.HasSuffix(header, "\r\n")
}

// FuzzTags: a list that is read holds what it says.
func FuzzTags(f *testing.F) {
	for _, s := range []string{"v=1; a=b", "a=1;a=2", " a = b c\r\n d ;", ";", "a", "a=;b=\x7f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseTags([]byte(s))
		if err != nil {
			return
		}
		for name, v := range all {
			if !isTagName(name) || !isTagValue(v) || strings.Contains(v, ";") || trimFWS(v) != v {
				t.Errorf("%q: %q = %q", s, name, v)
			}
		}
		before, err := parseTags(HeaderField{"x", []byte("x:" + s)}.withoutB().value())
		if err != nil || len(before) != len(all) || before["b"] != "" {
			t.Errorf("%q: without b= it is %v (%v)", s, before, err)
		}
	})
}

// TestARCCost: a chain made to be dear, over a header as large as one can be, is looked at in the time of a few readings.
func TestARCCost(t *testing.T) {
	r := dns.MockResolver{TXT: map[string][]string{"e._domainkey.two.example.": {keyRecord(t, arcEd25519.Public())}}}
	m := arcMessage
	for range maxARCSets {
		m = seal(t, r, m, "two.example", "e", arcEd25519)
	}
	m = strings.Repeat("X: y\r\n", 150_000) + m // signed by nobody
	header, body := splitMessage(m)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	got := checkARC(t.Context(), r, HeaderFields([]byte(header)), strings.NewReader(body), int64(len(body)), arcNow)
	runtime.ReadMemStats(&after)
	if got.Status != ARCPass || got.OldestPass != 0 {
		t.Errorf("%+v", got)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 200<<20 {
		t.Errorf("%d MiB were allocated", n>>20)
	}
}

// sealSimple makes the first set of a message with an AMS in the simple forms, b= in the middle of it.
func sealSimple(t testing.TB, message string) string {
	t.Helper()
	header, body := splitMessage(message)
	fields := HeaderFields([]byte(header))
	hash, err := BodyHash(strings.NewReader(body), false)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(digest []byte) string {
		b, err := arcRSA().Sign(rand.Reader, digest, crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(b)
	}
	const mark = "@"
	ams := "ARC-Message-Signature: i=1; a=rsa-sha256;\r\n  c=simple/simple; d=one.example; s=r; h=From:subject:Date ;\r\n\tb=" + mark + "; bh=" + base64.StdEncoding.EncodeToString(hash) + "\r\n"
	own := HeaderField{fieldAMS, []byte(strings.Replace(ams, mark, "", 1))}
	ams = strings.Replace(ams, mark, " "+sign(headerHash(fields, []string{"From", "subject", "Date"}, own, "simple"))+"\r\n ", 1)
	aar := "ARC-Authentication-Results:i = 1 ; mx.one.example; none\r\n"
	as := "ARC-Seal: i=1; cv=none; a=rsa-sha256; d=one.example; s=r; t=1795435200; b="
	set := &arcSet{aar: HeaderField{fieldAAR, []byte(aar)}, ams: HeaderField{fieldAMS, []byte(ams)}, as: HeaderField{fieldAS, []byte(as + "\r\n")}}
	return as + sign(sealHash([]*arcSet{set})) + "\r\n" + ams + aar + message
}

// TestARCSimple: signatures in the simple forms, in which nothing may change (RFC 6376 section 3.4.1).
func TestARCSimple(t *testing.T) {
	r := arcDNS(t)
	m := sealSimple(t, arcMessage)
	if got := check(t, r, m); got.Status != ARCPass {
		t.Fatalf("%+v\n%s", got, m)
	}
	if got := check(t, r, m+"\r\n\r\n"); got.Status != ARCPass {
		t.Errorf("empty lines at the end: %+v", got)
	}
	for _, c := range [][2]string{{"body  with", "body with"}, {"spaces \r\n", "spaces\r\n"}, {"Joe  <", "Joe <"}, {"\r\nSubject: ", "\r\nsubject: "}, {"c=simple/simple", "c=simple/relaxed"}} {
		if got := check(t, r, strings.Replace(m, c[0], c[1], 1)); got.Status != ARCFail {
			t.Errorf("%q for %q: %+v", c[1], c[0], got)
		}
	}
}
