package verify

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// dkimOf verifies the signatures of a message.
func dkimOf(t testing.TB, v *Verifier, text string, authors ...string) []Signature {
	t.Helper()
	m := message(text, "192.0.2.1", "x.test", "")
	return v.dkim(t.Context(), HeaderFields(m.Header), m, authors)
}

func statuses(all []Signature) string {
	var s []string
	for _, x := range all {
		s = append(s, string(x.Status))
	}
	return strings.Join(s, " ")
}

func example(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\n", "\r\n")
}

// The messages of RFC 6376 appendix A and RFC 8463 appendix A; that of RFC 6376 with the white space with which it was signed: six spaces where lines
// are folded and one behind a full stop.
func TestDKIMExamples(t *testing.T) {
	d, v := newHouse(t, Options{})
	d.Text("brisbane._domainkey.football.example.com", "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
	d.Text("test._domainkey.football.example.com", "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB")
	d.Text("brisbane._domainkey.example.com", "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB")
	if got := statuses(dkimOf(t, v, example(t, "rfc8463.eml"))); got != "pass pass" {
		t.Errorf("RFC 8463: %s", got)
	}
	all := dkimOf(t, v, example(t, "rfc6376.eml"))
	if statuses(all) != "pass" || all[0].Identity != "football.example.com" {
		t.Errorf("RFC 6376: %+v", all)
	}
	changed := strings.Replace(example(t, "rfc8463.eml"), "hungry", "angry", 1)
	if got := statuses(dkimOf(t, v, changed)); got != "fail fail" {
		t.Errorf("a changed body: %s", got)
	}
	changed = strings.Replace(example(t, "rfc8463.eml"), "dinner", "supper", 1)
	if got := statuses(dkimOf(t, v, changed)); got != "fail fail" {
		t.Errorf("a changed subject: %s", got)
	}
}

// What go-msgauth signs, ours verifies, in each form, with bodies that end in all ways.
func TestDKIMOfGoMsgauth(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	d.Text("e._domainkey.example.org", record(t, keys.ed))
	head := strings.TrimSuffix(letterText, "Hello  there.\r\n \r\n\r\n")
	for _, body := range []string{"", "\r\n", "\r\n\r\n\r\n", " \r\n", "a", "a\r\n", "a\r\n\r\n\r\n", " a \t b  \r\n\t\r\n c \r\n  \r\n", "a \r\n\r\nb\r\n", "\t\r\n\t\r\nx", strings.Repeat("long \t", 20000) + "\r\n", strings.Repeat("\r\n", 40000) + "x\r\n"} {
		for _, form := range [][2]string{{"simple", "simple"}, {"simple", "relaxed"}, {"relaxed", "simple"}, {"relaxed", "relaxed"}} {
			text := head + body
			for s, k := range map[string]crypto.Signer{"r": keys.rsa, "e": keys.ed} {
				text = signedBy(t, text, msgauth.SignOptions{Domain: "example.org", Selector: s, Signer: k, Identifier: "joe@mail.example.org",
					HeaderCanonicalization: msgauth.Canonicalization(form[0]), BodyCanonicalization: msgauth.Canonicalization(form[1])})
			}
			if got := dkimOf(t, v, text); statuses(got) != "pass pass" || got[0].Identity != "mail.example.org" {
				t.Errorf("%.20q %v: %+v", body, form, got)
			}
		}
	}
}

// What ours signs, go-msgauth and our own verification take.
func TestDKIMForGoMsgauth(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	d.Text("e._domainkey.example.org", record(t, keys.ed))
	text := letterText
	for s, k := range map[string]crypto.Signer{"r": keys.rsa, "e": keys.ed} {
		text = signOurs(t, text, s, k) + text
	}
	if got := statuses(dkimOf(t, v, text)); got != "pass pass" {
		t.Errorf("ours: %s", got)
	}
	all, err := msgauth.VerifyWithOptions(strings.NewReader(text), &msgauth.VerifyOptions{LookupTXT: func(name string) ([]string, error) {
		texts, _, err := v.resolver.LookupTXT(t.Context(), name)
		return texts, err
	}})
	if err != nil || len(all) != 2 || all[0].Err != nil || all[1].Err != nil {
		t.Errorf("go-msgauth: %v %+v", err, all)
	}
}

func signOurs(t testing.TB, text, selector string, key crypto.Signer) string {
	t.Helper()
	m := message(text, "192.0.2.1", "", "")
	fields := HeaderFields(m.Header)
	hash, err := BodyHash(io.NewSectionReader(m.Body, 0, m.Size), true)
	if err != nil {
		t.Fatal(err)
	}
	field, err := Signing{Field: "DKIM-Signature", First: "v=1", Domain: "example.org", Selector: selector, Key: key, At: time.Now(), BodyHash: hash, Names: SignedNames(fields)}.Make(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(field)
}

// forge makes a signature whose tags are as the test wants them; its hashes and its b= are right for what they say.
func forge(t testing.TB, text string, key crypto.Signer, tags string) string {
	t.Helper()
	m := message(text, "192.0.2.1", "", "")
	field := HeaderField{"dkim-signature", []byte("DKIM-Signature: " + tags + "; b=\r\n")}
	parsed, err := parseTags(field.value())
	if err != nil {
		t.Fatal(err)
	}
	header, _, err := parsed.canonical()
	if err != nil {
		header = "simple"
	}
	digest := headerHash(HeaderFields(m.Header), strings.Split(noFWS(parsed["h"]), ":"), field, header)
	hash := crypto.SHA256
	if _, ok := key.(ed25519.PrivateKey); ok {
		hash = 0
	}
	b, err := key.Sign(rand.Reader, digest, hash)
	if err != nil {
		t.Fatal(err)
	}
	return "DKIM-Signature: " + tags + "; b=" + base64.StdEncoding.EncodeToString(b) + "\r\n"
}

// Each rule of RFC 6376 sections 3.5 and 6.1, with signatures that hold otherwise.
func TestDKIMRules(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	good := record(t, keys.rsa)
	p := good[strings.Index(good, "p="):]
	for name, text := range map[string]string{
		"k": good, "bare": p, "revoked": "v=DKIM1; p=", "late": p + "; v=DKIM1", "old": "v=DKIM2; " + p, "nop": "v=DKIM1; k=rsa", "spf": "v=spf1 -all",
		"sha1": "v=DKIM1; h=sha1; " + p, "both": "v=DKIM1; h=sha1 : sha256 ; " + p, "notmail": "v=DKIM1; s=tlsrpt; " + p, "mail": "v=DKIM1; s=x:email; " + p,
		"strict": "v=DKIM1; t=y:s; " + p, "only": "v=DKIM1; t= s ; " + p, "spaces": " v = DKIM1 ; k = rsa ;\tp = " + p[2:50] + " " + p[50:] + " ; ", "test": "v=DKIM1; t=y; " + p, "ed": record(t, keys.ed), "broken": "v=DKIM1; p=AAAA", "base64": "v=DKIM1; p=***", "kind": "v=DKIM1; k=dsa; " + p,
		"twice": "v=DKIM1; " + p + "; " + p, "long": "v=DKIM1; n=" + strings.Repeat("x", 5000) + "; " + p, "shorted": "v=DKIM1; k=ed25519; p=AAAA", "notes": "v=DKIM1; n=hello; g=*; x=y; " + p + ";",
	} {
		d.Text(name+"._domainkey.example.org", text)
		d.Text(name+"._domainkey.co.uk", text)
		d.Text(name+"._domainkey.xn--bcher-kva.test", text)
	}
	d.Set("two._domainkey.example.org. TXT \"something\"\n")
	d.Fail("fails._domainkey.example.org")
	body := "Hello.\r\n"
	text := "From: joe@example.org\r\nSubject: x\r\n\r\n" + body
	bh := func(n int) string {
		h, _ := BodyHash(strings.NewReader(body[:n]), false)
		if n < len(body) { // canonical by itself: the octets as they are
			s := crypto.SHA256.New()
			s.Write([]byte(body[:n]))
			h = s.Sum(nil)
		}
		return base64.StdEncoding.EncodeToString(h)
	}
	whole := "bh=" + bh(len(body))
	base := "v=1; a=rsa-sha256; d=example.org; h=From:Subject; " + whole + "; "
	type row struct {
		tags string
		want Status
		why  string
	}
	rows := []row{
		{base + "s=k", Pass, ""},
		{base + "s=bare", Pass, ""},
		{base + "s=both", Pass, ""},
		{base + "s=mail", Pass, ""},
		{base + "s=notes", Pass, ""},
		{base + "s=strict; i=joe@example.org", Pass, ""},
		{base + "s=strict; i=joe@sub.example.org", PermError, "i="},
		{base + "s=only; i=joe@sub.example.org", PermError, "i="},
		{base + "s=only", Pass, ""},
		{base + "s=only; i=joe@EXAMPLE.org", Pass, ""},
		{base + "s=k; i=joe@Sub.Example.ORG; c=relaxed/relaxed", Pass, ""},
		{strings.Replace(base, "example.org", "bücher.test", 1) + "s=k; i=@xn--bcher-kva.test", Pass, ""},
		{strings.Replace(base, whole, "bh="+bh(5), 1) + "s=k; i=@EXAMPLE.org", Fail, "body"},
		{base + "s=k; i=@EXAMPLE.org; x=1999", Fail, "expired"},
		{base + "s=revoked; i=@EXAMPLE.org", PermError, "revoked"},
		{base + "s=fails; i=@EXAMPLE.org", TempError, "DNS"},
		{strings.Replace(base, "v=1", "v=2", 1) + "s=k; i=@EXAMPLE.org", Neutral, "version"},
		{base + "s=spaces", Pass, ""},
		{base + "s=test; i=joe@sub.example.org", Pass, ""},
		{strings.Replace(base, whole, "bh="+bh(5), 1) + "s=test", Neutral, "tests"},
		{strings.Replace(base, whole, "bh="+bh(5), 1) + "s=strict", Neutral, "tests"},
		{base + "s=k; i=joe@sub.example.org", Pass, ""},
		{base + "s=k; i=@example.org", Pass, ""},
		{base + "s=k; i=joe@other.org", PermError, "i="},
		{base + "s=k; i=joe@notexample.org", PermError, "i="},
		{base + "s=k; q=dns/txt", Pass, ""},
		{base + "s=k; q=http", Neutral, "query"},
		{base + "s=k; c=relaxed", Pass, ""},
		{base + "s=k; c=simple/relaxed", Pass, ""},
		{base + "s=k; c=loose/simple", Neutral, "canonical"},
		{base + "s=k; unknown=tag; z=From:joe", Pass, ""},
		{base + "s=k; t=1000; x=99999999999", Pass, ""},
		{base + "s=k; t=999999", Pass, ""},
		{base + "s=k; t=1000; x=1999", Fail, "expired"},
		{base + "s=k; x=1999", Fail, "expired"},
		{base + "s=k; t=3000; x=2999", Neutral, "time"},
		{base + "s=k; t=soon", Neutral, "time"},
		{base + "s=revoked", PermError, "revoked"},
		{base + "s=old", PermError, "no key"},
		{base + "s=nop", PermError, "no key"},
		{base + "s=spf", PermError, "no key"},
		{base + "s=missing", PermError, "no key"},
		{base + "s=two", PermError, "read"},
		{base + "s=fails", TempError, "DNS"},
		{base + "s=sha1", PermError, "SHA-256"},
		{base + "s=notmail", PermError, "mail"},
		{base + "s=ed", PermError, "another algorithm"},
		{base + "s=broken", PermError, "read"},
		{base + "s=base64", PermError, "read"},
		{base + "s=kind", PermError, "unknown kind"},
		{base + "s=twice", PermError, "read"},
		{base + "s=long", PermError, "too long"},
		{base + "s=shorted", PermError, "read"},
		{base + "s=k; l=8", Policy, "signed"},
		{base + "s=k; l=9", Policy, "signed"},
		{base + "s=k; l=-1", Policy, "signed"},
		{strings.Replace(base, whole, "bh="+bh(5), 1) + "s=k; l=5", Policy, "not signed"},
		{strings.Replace(base, whole, "bh="+bh(5), 1) + "s=k", Fail, "body"},
		{strings.Replace(base, "v=1", "v=2", 1) + "s=k", Neutral, "version"},
		{strings.Replace(base, "v=1; ", "", 1) + "s=k", Neutral, "no v="},
		{strings.Replace(base, "d=example.org; ", "", 1) + "s=k", Neutral, "no d="},
		{strings.TrimSuffix(base, "; "), Neutral, "no s="},
		{strings.Replace(base, "rsa-sha256", "rsa-sha1", 1) + "s=k", PermError, "SHA-1"},
		{strings.Replace(base, "rsa-sha256", "rsa-md5", 1) + "s=k", Neutral, "algorithm"},
		{strings.Replace(base, "From:Subject", "Subject", 1) + "s=k", PermError, "From"},
		{strings.Replace(base, "From:Subject", "Subject : FROM:Subject:to:to", 1) + "s=k", Pass, ""},
		{strings.Replace(base, "From:Subject", "From"+strings.Repeat(":x", 600), 1) + "s=k", Neutral, "too many"},
		{strings.Replace(base, "example.org", "co.uk", 1) + "s=k", PermError, "suffix"},
		{strings.Replace(base, "example.org", "bücher.test", 1) + "s=k", Pass, ""},
		{strings.Replace(base, "example.org", "exa mple.org", 1) + "s=k", Pass, ""}, // white space may stand in d=
		{strings.Replace(base, "example.org", "exam@ple.org", 1) + "s=k", Neutral, "domain"},
		{strings.Replace(base, whole, "bh=AAAA", 1) + "s=k", Neutral, "bh="},
	}
	for _, c := range rows {
		got := dkimOf(t, v, forge(t, text, keys.rsa, c.tags)+text)
		// What is broken is told by the library in its own words, and by us where we look first; that it is not taken is what counts.
		right := len(got) == 1 && (got[0].Status == c.want || c.want != Pass && c.want != TempError && got[0].Status != Pass && got[0].Status != TempError)
		if !right || c.want == Pass != (got[0].Reason == "") {
			t.Errorf("%s: %+v, want %s %s", c.tags, got, c.want, c.why)
		}
	}
	broken := strings.Replace(base, whole, "bh="+bh(5), 1)
	for selector, want := range map[string]Status{"k": Fail, "test": Neutral} { // RFC 6376 section 3.6.1: a domain that tests fails nothing
		if got := dkimOf(t, v, forge(t, text, keys.rsa, broken+"s="+selector)+text); got[0].Status != want {
			t.Errorf("%s: %+v", selector, got)
		}
	}
	for _, field := range []string{"DKIM-Signature: garbage\r\n", "DKIM-Signature: v=1; v=1\r\n", "DKIM-Signature:\r\n", "dkim-signature : " + base + "s=k; b=***\r\n", "DKIM-Signature: " + base + "s=k; b=AAAA\r\n"} {
		if got := dkimOf(t, v, field+text); len(got) != 1 || got[0].Status == Pass || got[0].Status == TempError {
			t.Errorf("%q: %+v", field, got)
		}
	}
}

// What a signature covers: the last fields of a name; adding one that was over-signed breaks it, adding another does not.
func TestDKIMCoverage(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("k._domainkey.example.org", record(t, keys.rsa))
	text := "Received: one\r\nFrom: joe@example.org\r\nSubject: x\r\n\r\nHello.\r\n"
	h, _ := BodyHash(strings.NewReader("Hello.\r\n"), false)
	tags := "v=1; a=rsa-sha256; d=example.org; s=k; bh=" + base64.StdEncoding.EncodeToString(h) + "; h=From:From:Received:Subject"
	sig := forge(t, text, keys.rsa, tags)
	for add, want := range map[string]Status{"": Pass, "Received: two\r\n": Pass, "X-New: a\r\n": Pass, "Subject: y\r\n": Pass, "From: evil@example.net\r\n": Fail} {
		if got := dkimOf(t, v, add+sig+text); got[0].Status != want {
			t.Errorf("with %q: %+v, want %s", add, got, want)
		}
	}
}

// countingBody counts what is read of it.
type countingBody struct {
	io.ReaderAt
	read int64
}

func (c *countingBody) ReadAt(p []byte, at int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, at)
	c.read += int64(n)
	return n, err
}

// Many signatures: the author's are looked at first, no more than the limit, the body is read once.
func TestDKIMMany(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("k._domainkey.example.org", record(t, keys.rsa))
	d.Text("k._domainkey.other.net", record(t, keys.rsa))
	body := strings.Repeat("Hello.\r\n", 20000)
	text := "From: joe@example.org\r\n\r\n" + body
	h, _ := BodyHash(strings.NewReader(body), false)
	of := func(domain string, i int) string {
		return forge(t, text, keys.rsa, fmt.Sprintf("v=1; a=rsa-sha256; s=k; h=From; bh=%s; d=%s; t=%d", base64.StdEncoding.EncodeToString(h), domain, i))
	}
	var fields strings.Builder
	for i := range 60 {
		fields.WriteString(of("other.net", i))
	}
	fields.WriteString(of("example.org", 1))
	m := message(fields.String()+text, "192.0.2.1", "", "")
	c := &countingBody{ReaderAt: m.Body}
	m.Body = c
	got := v.dkim(t.Context(), HeaderFields(m.Header), m, []string{"example.org"})
	if len(got) != 10 || got[9].Domain != "example.org" || got[9].Status != Pass || c.read != m.Size {
		t.Errorf("%d signatures, %d of %d octets read: %+v", len(got), c.read, m.Size, got)
	}
}

// repeated is a body of size bytes that repeats a text, and is nowhere.
type repeated struct {
	text string
	size int64
}

func (r repeated) ReadAt(p []byte, at int64) (n int, err error) {
	for n < len(p) && at < r.size {
		c := copy(p[n:min(int64(len(p)), int64(n)+r.size-at)], r.text[at%int64(len(r.text)):])
		n, at = n+c, at+int64(c)
	}
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// However long its lines, the work on a body grows with it and no faster; more empty lines than anybody writes are not looked at.
func TestDKIMCost(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("k._domainkey.example.org", record(t, keys.rsa))
	const size = 16 << 20
	for _, line := range []string{"x", "\r\n", " ", "a \r\n\r\n"} {
		body := repeated{line, size}
		for _, form := range []string{"simple", "relaxed"} {
			h, err := BodyHash(io.NewSectionReader(body, 0, size), form == "relaxed")
			if err != nil {
				t.Fatal(err)
			}
			head := "From: joe@example.org\r\n\r\n"
			field := forge(t, head, keys.rsa, "v=1; a=rsa-sha256; d=example.org; s=k; h=From; c=simple/"+form+"; bh="+base64.StdEncoding.EncodeToString(h))
			m := Message{Header: []byte(field + head), Body: body, Size: size}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			got := v.dkim(t.Context(), HeaderFields(m.Header), m, nil)
			runtime.ReadMemStats(&after)
			want := "pass"
			if line == "\r\n" {
				want = "policy"
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 4*size || statuses(got) != want {
				t.Errorf("%q, %s: %d bytes allocated for %d, %+v", line, form, n, size, got)
			}
		}
	}
}

type brokenBody struct{}

func (brokenBody) ReadAt([]byte, int64) (int, error) { return 0, errors.New("the disk is gone") }

// A body that cannot be read proves nothing, and leaves nothing behind.
func TestDKIMBrokenBody(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	text := signedBy(t, letterText, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa})
	text = signedBy(t, text, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa})
	m := message(text, "192.0.2.1", "", "")
	m.Body = brokenBody{}
	if got := v.dkim(t.Context(), HeaderFields(m.Header), m, nil); got[0].Status != TempError {
		t.Errorf("%+v", got)
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("v=1; a=rsa-sha256; d=example.org; s=k; h=From; bh=AAAA; b=AAAA")
	f.Add("v=1; a=ed25519-sha256; c=relaxed; d=example.org; s=k; i=@x.example.org; l=1; h=a:b; bh=; b=")
	_, v := newHouse(f, Options{})
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ContainsAny(s, "\r\n") {
			return
		}
		for _, got := range dkimOf(t, v, "DKIM-Signature: "+s+"\r\nFrom: joe@example.org\r\n\r\nHello.\r\n") {
			if got.Status == Pass || got.Status == "" {
				t.Errorf("%q: %+v", s, got)
			}
		}
	})
}
