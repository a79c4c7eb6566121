package storage

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParseAddress(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, c := range []struct{ in, local, domain string }{
		{"ann@example.test", "ann", "example.test"},
		{"Ann.B+c@Example.TEST", "Ann.B+c", "example.test"},
		{`"a b\"c"@x.test`, `a b"c`, "x.test"},
		{`"a@b"@x.test`, `a@b`, "x.test"},
		{"e\u0301@x.test", "\u00e9", "x.test"},
		{"ann@b\u00fccher.test", "ann", "xn--bcher-kva.test"},
		{"ann@B\u00dcCHER.test", "ann", "xn--bcher-kva.test"},
		{long + "@x.test", long, "x.test"},
		{"a@b", "a", "b"},
	} {
		l, d, err := ParseAddress(c.in)
		if err != nil || l != c.local || d != c.domain {
			t.Errorf("%q: %q %q %v", c.in, l, d, err)
		}
	}
	for _, in := range []string{"", "@", "ann", "ann@", "@x.test", "a..b@x.test", ".a@x.test", "a.@x.test", "a b@x.test", "a@[127.0.0.1]", "a@x..test", "a@-x.test",
		"a@x-.test", "a@x_y.test", "a@.x", "a@x.", `"a@x.test`, `"a"x.test`, `"\`, `""@x.test`, "a\x00@x.test", "\"a\r\n\"@x.test", "a@x.test\r\n", "a@b@c",
		long + "a@x.test", "a@" + strings.Repeat("b", 64) + ".test", "a@" + strings.Repeat("b.", 130) + "test", "a\xff@x.test", "a@xn--\xff.test", "a@xn--a.test"} {
		if l, d, err := ParseAddress(in); !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %q %q %v", in, l, d, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"ann@example.test", `"a b"@x.test`, "\u00e9@b\u00fccher.test", "a@[::1]", "a@xn--bcher-kva.test", `"\"@x`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		local, domain, err := ParseAddress(s)
		if err != nil {
			if !errors.Is(err, ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		if local == "" || len(local) > 64 || len(domain) > 253 || !utf8.ValidString(local) || domain != strings.ToLower(domain) || strings.ContainsAny(local+domain, "\r\n\x00") {
			t.Fatalf("%q: %q %q", s, local, domain)
		}
		// What comes out is an address again, and the same.
		again := local
		if !isDotString(local) {
			again = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
		}
		l, d, err := ParseAddress(again + "@" + domain)
		if err != nil || l != local || d != domain {
			t.Fatalf("%q: %q %q, again %q %q %v", s, local, domain, l, d, err)
		}
	})
}

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a", "..", "e\u0301", "a/b", "\x00", "INBOX", "inbox/x", strings.Repeat("x", 256), "a\u202eb"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := CleanName(s); err == nil {
			if again, err := CleanName(n); err != nil || again != n || len(n) > 255 || n == "" || strings.ContainsAny(n, "/\x00\r\n") {
				t.Fatalf("%q: %q, again %q %v", s, n, again, err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
		if n, err := CleanMailbox(s); err == nil {
			if again, err := CleanMailbox(n); err != nil || again != n || strings.HasPrefix(n, "/") {
				t.Fatalf("%q: %q, again %q %v", s, n, again, err)
			}
		} else if !errors.Is(err, ErrInvalid) {
			t.Fatal(err)
		}
	})
}

func TestResolve(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	if err := s.AddDomain(ctx, "Second.test."); err != nil {
		t.Fatal(err)
	}
	ann, err := s.CreateAccount(ctx, NewAccount{Name: "Ann@example.test", Aliases: []string{"info@second.test", "a+b@example.test"}})
	if err != nil || ann.Name != "ann@example.test" {
		t.Fatal(ann, err)
	}
	boss, err := s.CreateAccount(ctx, NewAccount{Name: "boss@example.test", Admin: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		addr    string
		account int64
		detail  string
		err     error
	}{
		{"ann@example.test", ann.ID, "", nil},
		{"ANN+Lists@EXAMPLE.test", ann.ID, "Lists", nil},
		{"INFO@second.test", ann.ID, "", nil},
		{"a+b@example.test", ann.ID, "", nil},
		{"a@example.test", 0, "", fs.ErrNotExist},
		{"+x@example.test", 0, "", fs.ErrNotExist},
		{"ann@second.test", 0, "", fs.ErrNotExist},
		{"ann@elsewhere.test", 0, "", ErrNotLocal},
		{"not an address", 0, "", ErrInvalid},
		{"Postmaster", boss.ID, "", nil},
		{"postmaster@second.test", boss.ID, "", nil},
		{"ABUSE@example.test", boss.ID, "", nil},
		{"postmaster@elsewhere.test", 0, "", ErrNotLocal},
	} {
		r, err := s.Resolve(ctx, c.addr)
		if !errors.Is(err, c.err) || c.account != 0 && (len(r.Boxes) != 1 || r.Boxes[0].Account.ID != c.account || r.Boxes[0].Detail != c.detail) {
			t.Errorf("%s: %+v, %v", c.addr, r, err)
		}
	}
	for addr, want := range map[string]bool{"Ann@example.test": true, "ann+x@example.test": true, "info@second.test": true, "boss@example.test": false, "ann@elsewhere.test": false, "": false} {
		if got, err := s.Owns(ctx, ann.ID, addr); got != want || err != nil {
			t.Errorf("owns %s: %v, %v", addr, got, err)
		}
	}
	for login, want := range map[string]int64{"ann": ann.ID, "ANN@example.test": ann.ID, "info@second.test": ann.ID, "info": 0, "x y": 0, "": 0} {
		a, err := s.AccountByLogin(ctx, login)
		if want == 0 && !errors.Is(err, fs.ErrNotExist) || want != 0 && (err != nil || a.ID != want) {
			t.Errorf("login %q: %v, %v", login, a, err)
		}
	}
}

func TestAccounts(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	ann := newAccount(t, s, "ann@example.test", 0)
	for _, c := range []struct {
		n    NewAccount
		want error
	}{
		{NewAccount{Name: "ANN@example.test"}, fs.ErrExist},
		{NewAccount{Name: "new@example.test", Aliases: []string{"ann@example.test"}}, fs.ErrExist},
		{NewAccount{Name: "ann@elsewhere.test"}, ErrNotLocal},
		{NewAccount{Name: "ann"}, ErrInvalid},
		{NewAccount{Name: "a/b@example.test"}, ErrInvalid},
		{NewAccount{Name: "neg@example.test", Quota: -1}, ErrInvalid},
	} {
		if _, err := s.CreateAccount(ctx, c.n); !errors.Is(err, c.want) {
			t.Errorf("%+v: %v", c.n, err)
		}
	}
	if err := s.AddAlias(ctx, ann.ID, "Second@example.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.AddAlias(ctx, ann.ID, "ann@example.test"); !errors.Is(err, fs.ErrExist) {
		t.Error(err)
	}
	if all, err := s.Addresses(ctx, ann.ID); err != nil || !slices.Equal(all, []string{"ann@example.test", "second@example.test"}) {
		t.Error(all, err)
	}
	if err := s.RemoveAlias(ctx, ann.ID, "ann@example.test"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.RemoveAlias(ctx, ann.ID, "second@example.test"); err != nil {
		t.Error(err)
	}
	if err := s.RemoveDomain(ctx, "example.test"); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	yes, quota := true, int64(77)
	a, err := s.UpdateAccount(ctx, ann.ID, AccountChange{Disabled: &yes, Quota: &quota})
	if err != nil || !a.Disabled || a.Quota != 77 || a.Admin {
		t.Error(a, err)
	}
	if err := s.SetCredentials(ctx, ann.ID, []Credential{{"argon2id", "x"}, {"scram-sha-256", "y"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCredentialsIf(ctx, ann.ID, ann.Epoch, nil); !errors.Is(err, ErrConflict) {
		t.Error(err)
	}
	if c, err := s.Credentials(ctx, ann.ID); err != nil || len(c) != 2 {
		t.Error(c, err)
	}
	if a, err = s.Account(ctx, ann.ID); err != nil || a.Epoch != ann.Epoch+1 || !a.Disabled {
		t.Error(a, err)
	}
	if err := s.RemoveAccount(ctx, ann.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Account(ctx, ann.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.AddDomain(ctx, "next.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveDomain(ctx, "example.test"); err != nil {
		t.Error(err)
	}
	if d, err := s.Domains(ctx); err != nil || len(d) != 1 || d[0] != (Domain{"next.test", true}) {
		t.Error(d, err)
	}
	leaveNothing(t, s)
}
