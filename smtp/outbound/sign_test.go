package outbound

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	authdkim "github.com/emersion/go-msgauth/dkim"
	"github.com/mjl-/mox/dkim"
	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// published is the DNS with the keys of domains.
func published(t testing.TB, s *storage.Store, domains ...string) dns.MockResolver {
	t.Helper()
	r := dns.MockResolver{TXT: map[string][]string{}}
	for _, d := range domains {
		all, err := s.DKIMKeys(context.Background(), d)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range all {
			r.TXT[k.Name()+"."] = []string{k.Record()}
		}
	}
	return r
}

// verified is what two other implementations say of a message's signatures: "domain selector status", mox's word; go-msgauth must agree.
func verified(t testing.TB, r dns.MockResolver, message string) []string {
	t.Helper()
	moxs, err := dkim.Verify(context.Background(), slog.New(slog.DiscardHandler), r, true, func(*dkim.Sig) error { return nil }, strings.NewReader(message), false)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := authdkim.VerifyWithOptions(strings.NewReader(message), &authdkim.VerifyOptions{LookupTXT: func(name string) ([]string, error) { return r.TXT[name+"."], nil }})
	if err != nil || len(theirs) != len(moxs) {
		t.Fatal(theirs, err)
	}
	var all []string
	for i, m := range moxs {
		if (m.Status == dkim.StatusPass) != (theirs[i].Err == nil) {
			t.Errorf("mox: %v %v, go-msgauth: %v", m.Status, m.Err, theirs[i].Err)
		}
		all = append(all, fmt.Sprint(m.Sig.Domain.ASCII, " ", m.Sig.AlgorithmSign, " ", m.Status))
	}
	return all
}

const letter = "From: Ann <ann@Example.test>\r\nTo: joe@other.example\r\nSubject: =?utf-8?q?h=C3=A9?=\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\n" +
	"Message-ID: <1@example.test>\r\nList-Id: <x.example.test>\r\n\r\nHello  there \r\n\r\n.dots and\ttabs\r\n\r\n\r\n"

func TestSign(t *testing.T) {
	s := storagetest.New(t)
	if err := s.AddDomain(t.Context(), "xn--bcher-kva.test"); err != nil {
		t.Fatal(err)
	}
	r := published(t, s, "example.test", "xn--bcher-kva.test")
	signer := NewSigner(s, SignOptions{})
	sign := func(sender, message string) string {
		t.Helper()
		f, err := signer.Sign(t.Context(), "", sender, strings.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(f)) {
			if len(line) > 998 || !strings.HasSuffix(line, "\r\n") {
				t.Errorf("line %q", line)
			}
		}
		return string(f)
	}
	both := "[example.test rsa pass example.test ed25519 pass]"
	for name, c := range map[string]struct{ sender, message, want string }{
		"by From":                   {"x@foreign.example", letter, both},
		"by the envelope":           {"ann@example.test", strings.Replace(letter, "@Example.test", "@foreign.example", 1), both},
		"the null sender":           {"", letter, both},
		"nobody of ours":            {"x@foreign.example", strings.Replace(letter, "@Example.test", "@foreign.example", 1), "[]"},
		"no From":                   {"ann@example.test", strings.Replace(letter, "From:", "X-From:", 1), "[]"},
		"two From":                  {"ann@example.test", "From: eve@example.test\r\n" + letter, "[]"},
		"several authors":           {"", strings.Replace(letter, "Ann <ann@Example.test>", "\"a, b\" <x@foreign.example>,\r\n (c) ann@example.test", 1), both},
		"no body":                   {"", letter[:strings.Index(letter, "\r\n\r\n")+4], both},
		"no empty line":             {"", letter[:strings.Index(letter, "\r\n\r\n")+2], both},
		"no end of line":            {"", letter + "x", both},
		"many fields":               {"", strings.Repeat("To: many@other.example\r\n", 30) + strings.Repeat("Received: x\r\n", 3000) + letter, both},
		"international domain":      {"", strings.Replace(letter, "ann@Example.test", "ann@bücher.test", 1), "[xn--bcher-kva.test rsa pass xn--bcher-kva.test ed25519 pass]"},
		"a large body":              {"", letter + strings.Repeat("line of text\r\n", 100_000), both},
		"a bare From":               {"", strings.Replace(letter, "Ann <ann@Example.test>", "ann@example.test", 1), both},
		"folded within the address": {"", strings.Replace(letter, "Ann <ann@Example.test>", "Ann\r\n <ann@example.test>", 1), both},
	} {
		t.Run(name, func(t *testing.T) {
			m := sign(c.sender, c.message) + c.message
			if name == "no empty line" {
				m += "\r\n"
			}
			if got := fmt.Sprint(verified(t, r, m)); got != c.want {
				t.Errorf("%s, want %s\n%.3000s", got, c.want, m)
			}
		})
	}
}

// TestSignCovers: what a replay would like to add breaks a signature (RFC 6376 section 8.15), what mailing lists add does not.
func TestSignCovers(t *testing.T) {
	s := storagetest.New(t)
	r := published(t, s, "example.test")
	f, err := NewSigner(s, SignOptions{Expire: time.Hour}).Sign(t.Context(), "", "", strings.NewReader(letter), int64(len(letter)))
	if err != nil {
		t.Fatal(err)
	}
	m := string(f) + letter
	for _, field := range []string{"From: eve@evil.example", "To: x@y.example", "Cc: x@y.example", "Subject: other", "Date: Tue, 24 Nov 2026 12:00:00 +0000", "Message-ID: <2@x>",
		"Reply-To: eve@evil.example", "In-Reply-To: <2@x>", "References: <2@x>", "MIME-Version: 1.0", "Content-Type: text/html", "Content-Transfer-Encoding: base64"} {
		if got := fmt.Sprint(verified(t, r, field+"\r\n"+m)); strings.Contains(got, "pass") {
			t.Errorf("%s can be added: %s", field, got)
		}
	}
	for _, field := range []string{"Received: by x", "List-Post: <mailto:x@y.example>", "Sender: list@y.example", "Return-Path: <>", "DKIM-Signature: x", "X-Spam: no"} {
		if got := fmt.Sprint(verified(t, r, strings.Replace(field, "DKIM-Signature: x", "X-Nothing: 1", 1)+"\r\n"+m)); strings.Contains(got, "fail") {
			t.Errorf("%s cannot be added: %s", field, got)
		}
	}
	for _, tag := range []string{"c=relaxed/relaxed;", " t=", " x="} {
		if strings.Count(string(f), tag) != 2 {
			t.Errorf("no %s in %s", tag, f)
		}
	}
	if strings.Contains(string(f), " l=") {
		t.Error("l= in", string(f))
	}
}

// countingReader tells how much of a message was read.
type countingReader struct {
	io.ReaderAt
	n int64
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.ReaderAt.ReadAt(p, off)
	c.n += int64(n)
	return n, err
}

// TestSignOnce: a message is read once for all its attempts, until keys change or an hour is over.
func TestSignOnce(t *testing.T) {
	s := storagetest.New(t)
	now := time.Now()
	signer := NewSigner(s, SignOptions{Now: func() time.Time { return now }})
	message := &countingReader{ReaderAt: strings.NewReader(letter)}
	sign := func() []byte {
		t.Helper()
		f, err := signer.Sign(t.Context(), "17", "", message, int64(len(letter)))
		if err != nil || len(f) == 0 {
			t.Fatal(err)
		}
		return f
	}
	first := sign()
	read := message.n
	if again := sign(); !bytes.Equal(again, first) || message.n != read {
		t.Error("it was signed again")
	}
	if err := s.AddDKIMKeys(t.Context(), "example.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.ActivateDKIMKeys(t.Context(), "example.test"); err != nil {
		t.Fatal(err)
	}
	second := sign()
	if bytes.Equal(first, second) || !strings.Contains(string(second), "r2;") {
		t.Errorf("after a rotation: %s", second)
	}
	now = now.Add(2 * time.Hour)
	read = message.n
	if sign(); message.n == read {
		t.Error("it was kept for two hours")
	}
	foreign := strings.Replace(letter, "@Example.test", "@foreign.example", 1)
	for i := range 3 * madeMax {
		if f, err := signer.Sign(t.Context(), fmt.Sprint("many ", i), "", strings.NewReader(foreign), int64(len(foreign))); err != nil || f != nil {
			t.Fatal(f, err)
		}
	}
	if n := len(signer.made) + len(signer.older); n > 2*madeMax {
		t.Errorf("%d messages are kept", n)
	}
	if f, err := NewSigner(s, SignOptions{NoSign: true}).Sign(t.Context(), "", "", message, int64(len(letter))); err != nil || f != nil {
		t.Error("off:", f, err)
	}
}

// TestSeal: what comes in with a chain goes out with a longer one; our own word about it is believed.
func TestSeal(t *testing.T) {
	s := storagetest.New(t)
	r := published(t, s, "example.test")
	seal := func(message string) string {
		t.Helper()
		f, err := NewSigner(s, SignOptions{Name: "mx.example.test", Resolver: r}).Seal(t.Context(), "", "SRS0=x@example.test", strings.NewReader(message), int64(len(message)))
		if err != nil {
			t.Fatal(err)
		}
		return string(f)
	}
	check := func(m string) verify.ARC {
		t.Helper()
		header, body, err := readHeader(strings.NewReader(m), int64(len(m)))
		if err != nil {
			t.Fatal(err)
		}
		return verify.CheckARC(t.Context(), r, header, strings.NewReader(m[body:]), int64(len(m))-body)
	}
	came := "Authentication-Results: mx.example.test; arc=none;\r\n\tspf=pass (a; b) smtp.mailfrom=x@foreign.example\r\n" +
		"Authentication-Results: evil.example; arc=pass\r\n" + letter
	m := seal(came) + came
	got := check(m)
	if got.Status != verify.ARCPass || got.Instance != 1 || got.Sets[0].Domain != "example.test" || got.Sets[0].AuthServID != "mx.example.test" ||
		got.Sets[0].Results != "; arc=none; spf=pass (a; b) smtp.mailfrom=x@foreign.example" {
		t.Errorf("%+v\n%s", got, m)
	}
	m = seal(m) + m // nobody of ours looked at that chain: it is done now... by our own old word, which is "none"
	if got := check(m); got.Status != verify.ARCPass || got.Instance != 2 {
		t.Errorf("%+v", got)
	}
	told := "Authentication-Results: mx.example.test; arc=fail\r\n" + m
	if f := seal(told); !strings.Contains(f, "cv=fail;") {
		t.Errorf("our word was fail: %s", f)
	}
	told = seal(told) + told
	if f := seal(told); f != "" {
		t.Errorf("a chain that failed before: %s", f)
	}
}

// BenchmarkSign is a message of 4 KiB, with both keys, that nobody signed before.
func BenchmarkSign(b *testing.B) {
	s := storagetest.New(b)
	signer := NewSigner(s, SignOptions{})
	message := letter + strings.Repeat("Lorem ipsum dolor sit amet, consectetur.\r\n", 90)
	for b.Loop() {
		if _, err := signer.Sign(context.Background(), "", "", strings.NewReader(message), int64(len(message))); err != nil {
			b.Fatal(err)
		}
	}
}
