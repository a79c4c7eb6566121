package outbound

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// stsSite is the web server of mta-sts.remote.example.
type stsSite struct {
	port   int
	asked  atomic.Int64
	server *httptest.Server

	mu    sync.Mutex
	reply http.HandlerFunc
}

func newSTSSite(t testing.TB, ca *authority, names ...string) *stsSite {
	t.Helper()
	if names == nil {
		names = []string{"mta-sts.remote.example"}
	}
	s := &stsSite{}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		s.mu.Lock()
		reply := s.reply
		s.mu.Unlock()
		if r.URL.Path != "/.well-known/mta-sts.txt" || r.Host != "mta-sts.remote.example" || r.Method != http.MethodGet {
			http.NotFound(w, r)
			return
		}
		reply(w, r)
	}))
	s.server.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour), names...)}}
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.StartTLS()
	t.Cleanup(s.server.Close)
	fmt.Sscanf(s.server.URL, "https://127.0.0.1:%d", &s.port)
	return s
}

func (s *stsSite) serve(policy string) {
	s.answer(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte(policy))
	})
}

func (s *stsSite) answer(f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = f
}

const stsPolicy = "version: STSv1\nmode: enforce\nmx: mx.remote.example\nmax_age: 604800\n"

// TestSTSCache: a policy is fetched when its id changes, is used until max_age is over whatever happens meanwhile, and a site that does not answer is left alone
// for five minutes (RFC 8461 sections 3 and 5.1).
func TestSTSCache(t *testing.T) {
	ca := newAuthority(t)
	site := newSTSSite(t, ca)
	site.serve(stsPolicy)
	r := dns.MockResolver{TXT: map[string][]string{"_mta-sts.remote.example.": {"v=STSv1; id=1;"}}, A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}}}
	now := time.Now()
	store := storagetest.New(t)
	p := NewPolicies(store, r, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port, Now: func() time.Time { return now }})
	mode := func() string {
		t.Helper()
		s := p.sts(t.Context(), "remote.example")
		if s.policy == nil {
			return ""
		}
		return string(s.policy.Mode)
	}
	step := func(what, want string, asked int64) {
		t.Helper()
		if got := mode(); got != want || site.asked.Load() != asked {
			t.Fatalf("%s: %q, asked %d times; want %q, %d", what, got, site.asked.Load(), want, asked)
		}
	}
	step("first", "enforce", 1)
	step("again", "enforce", 1)
	r.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=2;"}
	site.serve(strings.Replace(stsPolicy, "enforce", "testing", 1))
	step("a new id", "testing", 2)
	r.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=3;"}
	site.answer(http.NotFound)
	step("the site fails", "testing", 3)
	step("and again", "testing", 3)
	now = now.Add(6 * time.Minute)
	step("six minutes later", "testing", 4)
	delete(r.TXT, "_mta-sts.remote.example.")
	step("no record any more", "testing", 4)
	r.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=4;", "v=STSv1; id=5;"}
	step("two records", "testing", 4)
	now = now.Add(8 * 24 * time.Hour)
	step("after max_age", "", 4)
	r.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=4;"}
	site.serve(stsPolicy)
	step("back again", "enforce", 5)
	// RFC 8461 section 10.2: what was learned survives a restart of ours, and who suppresses DNS or web gains nothing.
	q := NewPolicies(store, dns.MockResolver{Fail: []string{"txt _mta-sts.remote.example."}}, PolicyOptions{Now: func() time.Time { return now }})
	if s := q.sts(t.Context(), "remote.example"); s.policy == nil {
		t.Error("after a restart, without DNS: no policy")
	}
	now = now.Add(25 * time.Hour)
	if err := p.refreshAll(t.Context()); err != nil || site.asked.Load() != 6 {
		t.Errorf("refreshed: asked %d times, %v", site.asked.Load(), err)
	}
	if err := p.refreshAll(t.Context()); err != nil || site.asked.Load() != 6 {
		t.Errorf("refreshed too often: %d, %v", site.asked.Load(), err)
	}
}

// TestSTSFetch: answers that are none (RFC 8461 section 3.3), and how they are reported (RFC 8460 section 4.3.2.2).
func TestSTSFetch(t *testing.T) {
	ca := newAuthority(t)
	good := newSTSSite(t, ca)
	plain := func(status int, kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(status)
			w.Write([]byte(body))
		}
	}
	for name, c := range map[string]struct {
		site  *stsSite
		reply http.HandlerFunc
		roots *authority
		want  string
	}{
		"good":              {good, plain(200, "text/plain", stsPolicy), ca, ""},
		"another name":      {newSTSSite(t, ca, "www.remote.example", "remote.example"), plain(200, "text/plain", stsPolicy), ca, "sts-webpki-invalid"},
		"another authority": {good, plain(200, "text/plain", stsPolicy), newAuthority(t), "sts-webpki-invalid"},
		"not there":         {good, plain(404, "text/plain", stsPolicy), ca, "sts-policy-fetch-error"},
		"an error":          {good, plain(500, "text/plain", stsPolicy), ca, "sts-policy-fetch-error"},
		"not 200":           {good, plain(203, "text/plain", stsPolicy), ca, "sts-policy-fetch-error"},
		"moved": {good, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/.well-known/mta-sts.txt", http.StatusFound)
		}, ca, "sts-policy-fetch-error"},
		"a picture":          {good, plain(200, "image/png", stsPolicy), ca, "sts-policy-fetch-error"},
		"too long":           {good, plain(200, "text/plain", stsPolicy+strings.Repeat("x: y\n", 20_000)), ca, "sts-policy-invalid"},
		"no policy":          {good, plain(200, "text/plain", "hello"), ca, "sts-policy-invalid"},
		"empty":              {good, plain(200, "text/plain", ""), ca, "sts-policy-invalid"},
		"no hosts":           {good, plain(200, "text/plain", "version: STSv1\nmode: enforce\nmax_age: 1\n"), ca, "sts-policy-invalid"},
		"without a mode":     {good, plain(200, "text/plain", "version: STSv1\nmx: a.example\nmax_age: 1\n"), ca, "sts-policy-invalid"},
		"of another version": {good, plain(200, "text/plain", strings.Replace(stsPolicy, "STSv1", "STSv2", 1)), ca, "sts-policy-invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			c.site.answer(c.reply)
			r := dns.MockResolver{TXT: map[string][]string{"_mta-sts.remote.example.": {"v=STSv1; id=1;"}}, A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}}}
			p := NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: c.roots.pool, HTTPSPort: c.site.port})
			s := p.sts(t.Context(), "remote.example")
			switch {
			case c.want == "" && (s.policy == nil || s.fault != nil):
				t.Errorf("%+v", s.fault)
			case c.want != "" && (s.policy != nil || s.fault == nil || s.fault.Type != c.want):
				t.Errorf("%+v, want %s", s.fault, c.want)
			}
		})
	}
}

// TestSTSTogether: who needs the same policy at the same time waits for one fetch.
func TestSTSTogether(t *testing.T) {
	ca := newAuthority(t)
	site := newSTSSite(t, ca)
	gate := make(chan struct{})
	site.answer(func(w http.ResponseWriter, _ *http.Request) {
		<-gate
		w.Header().Set("Content-Type", "text/plain")
		w.Write([]byte(stsPolicy))
	})
	r := dns.MockResolver{TXT: map[string][]string{"_mta-sts.remote.example.": {"v=STSv1; id=1;"}}, A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}}}
	p := NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if s := p.sts(t.Context(), "remote.example"); s.policy == nil {
				t.Error("no policy")
			}
		})
	}
	for site.asked.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	close(gate)
	wg.Wait()
	if n := site.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// lateTXT answers the first question for TXT records when the test says so.
type lateTXT struct {
	dns.Resolver
	questions atomic.Int64
	asked     chan struct{}
	answer    chan struct{}
}

func (r *lateTXT) LookupTXT(ctx context.Context, name string) ([]string, adns.Result, error) {
	if r.questions.Add(1) == 1 {
		close(r.asked)
		<-r.answer
	}
	return r.Resolver.LookupTXT(ctx, name)
}

// TestSTSMeanwhile: who looked into the cache before another one had fetched the policy, and comes to the fetch behind it, does not fetch it again.
func TestSTSMeanwhile(t *testing.T) {
	ca := newAuthority(t)
	site := newSTSSite(t, ca)
	site.serve(stsPolicy)
	mock := dns.MockResolver{TXT: map[string][]string{"_mta-sts.remote.example.": {"v=STSv1; id=1;"}}, A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}}}
	r := &lateTXT{Resolver: mock, asked: make(chan struct{}), answer: make(chan struct{})}
	p := NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port})
	late := make(chan stsState)
	go func() { late <- p.sts(t.Context(), "remote.example") }()
	<-r.asked
	if s := p.sts(t.Context(), "remote.example"); s.policy == nil {
		t.Error("no policy")
	}
	close(r.answer)
	if s := <-late; s.policy == nil {
		t.Error("no policy for the late one")
	}
	if n := site.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// FuzzSTS: no policy text of others makes us fall over, and what is reported of it is bounded.
func FuzzSTS(f *testing.F) {
	f.Add(stsPolicy, "mx.remote.example")
	f.Add("version: STSv1\nmode: testing\nmx: *.a\nmx: *.\nmax_age: 9999999999\n", "x.a")
	f.Add("version:STSv1\r\nmode:none\r\nmax_age:0", "")
	f.Fuzz(func(t *testing.T, body, host string) {
		s := stsOf(&storage.STSPolicy{Body: body, Expires: time.Unix(100, 0)}, time.Unix(99, 0))
		d := &Policy{hop: Hop{Domain: "a.example"}, sts: s}
		d.listed(host)
		if n := len(encode(d.reported())); n > 2*reportedMax*300*6 {
			t.Errorf("a report of %d bytes", n)
		}
	})
}
