package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

func TestPrepare(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"secret", "secret"},
		{" a  b ", " a  b "},
		{"e\u0301te\u0301", "\u00e9t\u00e9"}, // NFC
		{"a\u00a0b\u3000c", "a b c"},         // every space is one space
		{"\U0001F511 key", "\U0001F511 key"},
		{"ﬁ", "ﬁ"}, // not NFKC
		{strings.Repeat("x", 1024), strings.Repeat("x", 1024)},
	} {
		got, err := prepare(c.in)
		if err != nil || got != c.want {
			t.Errorf("prepare(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
		if again, err := prepare(got); err != nil || again != got {
			t.Errorf("prepare is not stable for %q: %q, %v", c.in, again, err)
		}
	}
	for _, bad := range []string{"", "a\x00b", "a\tb", "a\r\nb", "\x7f", "a\u0085", "\xff\xfe", strings.Repeat("x", 1025)} {
		_, err := prepare(bad)
		if !errors.Is(err, ErrPassword) {
			t.Errorf("prepare(%.20q): %v", bad, err)
		} else if len(bad) > 1 && strings.Contains(err.Error(), bad) {
			t.Errorf("the error quotes the password: %v", err)
		}
	}
}

func TestCredentials(t *testing.T) {
	c, err := Credentials("pa\u0308ss word")
	if err != nil || len(c) != 2 {
		t.Fatalf("%v, %v", c, err)
	}
	h, err := parsePHC(secretOf(t, c, kindArgon2id))
	if err != nil {
		t.Fatal(err)
	}
	if h.stale(usualCost) || !h.verify("p\u00e4ss word") || h.verify("p\u00e4ss worD") || h.verify("") {
		t.Errorf("hash does not verify as it should: %v", h)
	}
	k, err := parseScramKeys(secretOf(t, c, kindScram))
	if err != nil {
		t.Fatal(err)
	}
	same, err := deriveScramWith("p\u00e4ss word", k.KeyFactors)
	if err != nil || k.stale() || same.String() != k.String() {
		t.Errorf("keys %v, derived again %v, %v", k, same, err)
	}
	if other, _ := Credentials("pa\u0308ss word"); other[0] == c[0] || other[1] == c[1] {
		t.Error("two sets of credentials share a salt")
	}
	for _, bad := range []string{"", "a\nb"} {
		if _, err := Credentials(bad); !errors.Is(err, ErrPassword) {
			t.Errorf("Credentials(%q): %v", bad, err)
		}
	}
}

func secretOf(t *testing.T, c []storage.Credential, kind string) string {
	t.Helper()
	for _, k := range c {
		if k.Kind == kind {
			return k.Secret
		}
	}
	t.Fatalf("no credential of kind %s", kind)
	return ""
}

// SASLprep maps more than OpaqueString does: a client that follows RFC 5802 proves
// the mapped password.
func TestScramKeysAreSASLprepped(t *testing.T) {
	k, err := deriveScram("ﬁle")
	if err != nil {
		t.Fatal(err)
	}
	mapped, err := deriveScramWith("file", k.KeyFactors)
	if err != nil || mapped.String() != k.String() {
		t.Errorf("keys of the ligature differ from those of its letters: %v", err)
	}
	if _, err := deriveScram("\U0001F511\U0001F9D1"); err != nil {
		t.Errorf("a password that SASLprep does not know: %v", err)
	}
}

const goodPHC = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

func TestParsePHC(t *testing.T) {
	if h, err := parsePHC(goodPHC); err != nil || h.stale(usualCost) || h.String() != goodPHC {
		t.Fatalf("%v, %v", h, err)
	}
	// Another implementation's (the reference program's: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1).
	h, err := parsePHC("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil || !h.stale(usualCost) || !h.verify("password") || h.verify("passwore") {
		t.Errorf("the reference hash: %v, %v", h, err)
	}
	replace := func(old, new string) string { return strings.Replace(goodPHC, old, new, 1) }
	for _, bad := range []string{
		"", "$", "$$$$$", goodPHC + "$", goodPHC[1:], goodPHC + "=", goodPHC + "\n",
		replace("argon2id", "argon2i"), replace("v=19", "v=16"), replace("$v=19", ""),
		replace("m=19456,", ""), replace("m=19456,t=2", "t=2,m=19456"), replace("p=1", "p=1,x=1"),
		replace("m=19456", "m=0"), replace("m=19456", "m=7"), replace("m=19456", "m=4294967296"), replace("m=19456", "m=262145"),
		replace("m=19456", "m=019456"), replace("m=19456", "m=+19456"), replace("m=19456", "m=-1"), replace("m=19456", "m="),
		replace("t=2", "t=0"), replace("t=2", "t=17"), replace("p=1", "p=0"), replace("p=1", "p=9"), replace("p=1", "p=256"),
		replace("m=19456,t=2", "m=262144,t=5"), replace("m=19456,t=2,p=1", "m=16,t=2,p=4"),
		replace("AAAAAAAAAAAAAAAAAAAAAA$", "AAAA$"), replace("AAAAAAAAAAAAAAAAAAAAAA$", "$"), replace("$AAAAAAAAAAAAAAAAAAAAAA$", "$AAAAAAAAAAAAAAAAAAAAA*$"),
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA",
		"$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + strings.Repeat("AAAA", 30),
	} {
		if h, err := parsePHC(bad); err == nil {
			t.Errorf("parsePHC(%q) = %v", bad, h)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add(goodPHC)
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=262144,t=4,p=8$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := parsePHC(s)
		if err != nil {
			return
		}
		if h.memory > phcMaxMemory || h.memory*h.passes > phcMaxWork || h.threads == 0 || h.passes == 0 || len(h.hash) == 0 {
			t.Errorf("%q costs too much or nothing: %v", s, h)
		}
		if h.String() != s {
			t.Errorf("%q is written as %q", s, h)
		}
	})
}

const goodScram = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestParseScramKeys(t *testing.T) {
	k, err := parseScramKeys(goodScram)
	if err != nil || k.String() != goodScram || !k.stale() {
		t.Fatalf("%v, %v", k, err)
	}
	// RFC 7677 section 3: the example's password.
	if same, err := deriveScramWith("pencil", k.KeyFactors); err != nil || same.String() != goodScram {
		t.Errorf("%v, %v", same, err)
	}
	for _, bad := range []string{
		"", "$", "SCRAM-SHA-256$$", goodScram + "$", strings.Replace(goodScram, "256", "1", 1),
		strings.Replace(goodScram, "4096", "4095", 1), strings.Replace(goodScram, "4096", "10000001", 1),
		strings.Replace(goodScram, "4096", "x", 1), strings.Replace(goodScram, "W22ZaJ0SNY7soEsUEjb6gQ==", "", 1),
		strings.Replace(goodScram, "wfPL", "", 1), strings.Replace(goodScram, "WG5d", "*", 1), strings.Repeat("x", 600),
	} {
		if k, err := parseScramKeys(bad); err == nil {
			t.Errorf("parseScramKeys(%q) = %v", bad, k)
		}
	}
}

func FuzzParseScramKeys(f *testing.F) {
	f.Add(goodScram)
	f.Fuzz(func(t *testing.T, s string) {
		if k, err := parseScramKeys(s); err == nil && (len(k.StoredKey) != 32 || len(k.ServerKey) != 32 || k.Iters < 4096 || k.Salt == "") {
			t.Errorf("%q: %v", s, k)
		}
	})
}

func TestGeneratePassword(t *testing.T) {
	seen := map[string]bool{}
	signs := map[rune]bool{}
	for range 2000 {
		p := GeneratePassword()
		if seen[p] {
			t.Fatalf("%s came twice", p)
		}
		seen[p] = true
		groups := strings.Split(p, "-")
		if len(groups) != generatedGroups {
			t.Fatalf("%s has %d groups", p, len(groups))
		}
		for _, g := range groups {
			if len(g) != generatedGroup || strings.Trim(g, generatedAlphabet) != "" {
				t.Fatalf("%s has a group %q", p, g)
			}
			for _, r := range g {
				signs[r] = true
			}
		}
		if q, err := prepare(p); err != nil || q != p {
			t.Fatalf("%s is prepared as %s, %v", p, q, err)
		}
	}
	if len(signs) != len(generatedAlphabet) {
		t.Errorf("only %d of %d signs occur", len(signs), len(generatedAlphabet))
	}
}
