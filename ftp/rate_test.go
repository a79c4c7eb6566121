package ftp

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"
)

// TestRate: no transfer is faster than its bounds, and each is whole.
func TestRate(t *testing.T) {
	const perSecond = 1 << 20
	data := noise(perSecond * 3 / 8)
	h := newHouse(t)
	tests := map[string]struct {
		rates    *Rates
		up, down bool // bounded
	}{
		"session up":   {&Rates{SessionUp: perSecond}, true, false},
		"session down": {&Rates{SessionDown: perSecond}, false, true},
		"account up":   {&Rates{AccountUp: perSecond}, true, false},
		"account down": {&Rates{AccountDown: perSecond}, false, true},
		"all":          {&Rates{SessionUp: perSecond, SessionDown: perSecond, AccountUp: 2 * perSecond, AccountDown: 2 * perSecond}, true, true},
	}
	for name, tt := range tests {
		for _, secure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, tls %v", name, secure), func(t *testing.T) {
				h.addr = h.listen(func(o *Options) { o.Rates = tt.rates })
				login := h.login
				if secure {
					login = func() *peer { return h.secureLogin(0) }
				}
				p := login()
				least := time.Duration(len(data)-perSecond/rateBurst) * time.Second / perSecond
				begin := time.Now()
				if code := p.stor(data, "STOR f"); code != 226 {
					t.Fatal(code)
				}
				if took := time.Since(begin); tt.up && took < least {
					t.Errorf("the upload took %v, want at least %v", took, least)
				}
				time.Sleep(10 * time.Millisecond)
				begin = time.Now()
				if p.retr("RETR f") != data {
					t.Error("something else came back")
				}
				if took := time.Since(begin); tt.down && took < least {
					t.Errorf("the download took %v, want at least %v", took, least)
				}
			})
			tt.rates.accounts = nil
		}
	}
}

// TestRateShared: the sessions of an account share its bound, in equal parts, and also a bound that is reached by many small files.
func TestRateShared(t *testing.T) {
	const perSecond = 256 << 10
	rates := &Rates{AccountDown: perSecond, AccountUp: perSecond}
	h := newHouse(t, func(o *Options) { o.Rates = rates })
	h.put("/f", noise(10<<20))
	begin := time.Now()
	conns := []slowed{}
	for range 3 {
		p := h.login()
		conns = append(conns, slowed{p, p.open("RETR f")})
	}
	// Who gets its share gets 100,000 bytes while the others get about as much.
	var wg sync.WaitGroup
	for _, c := range conns {
		wg.Go(func() {
			if _, err := io.CopyN(io.Discard, c.data, 100_000); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if took, least := time.Since(begin), time.Duration(300_000-perSecond/rateBurst)*time.Second/perSecond; took < least {
		t.Errorf("300,000 bytes took %v, want at least %v", took, least)
	}
	for _, i := range h.reg.List() {
		if i.BytesOut < 80_000 || i.BytesOut > 300_000 {
			t.Errorf("a session got %d bytes", i.BytesOut)
		}
	}
	for _, c := range conns {
		c.control.send("ABOR")
		c.control.expect(426)
		c.control.expect(226)
	}
	p := h.login()
	begin = time.Now()
	for i := range 20 {
		if code := p.stor(noise(8<<10), "STOR small-%d", i); code != 226 {
			t.Fatal(code)
		}
	}
	if took, least := time.Since(begin), time.Duration(160<<10-perSecond/rateBurst)*time.Second/perSecond; took < least {
		t.Errorf("20 small files took %v, want at least %v", took, least)
	}
}

type slowed struct {
	control *peer
	data    io.ReadWriter
}

// TestRateSlow: a bound that moves less in a stall timeout than a step is no stall, ABOR acts at once, and so does a kill.
func TestRateSlow(t *testing.T) {
	h := newHouse(t, func(o *Options) {
		o.StallTimeout = 40 * time.Millisecond
		o.Rates = &Rates{SessionUp: minRate, SessionDown: minRate}
	})
	h.put("/f", noise(10<<20))
	for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
		p := login()
		if code := p.stor(noise(600), "STOR g"); code != 226 {
			t.Fatal(code)
		}
		conn := p.open("RETR f")
		if _, err := io.CopyN(io.Discard, conn, 500); err != nil {
			t.Fatal(err)
		}
		p.send("ABOR")
		p.expect(426)
		p.expect(226)
		conn = p.open("STOR h")
		io.WriteString(conn, noise(100_000))
		p.send("ABOR")
		p.expect(426)
		p.expect(226)
		if n := h.kept("/h"); n > 2000 {
			t.Errorf("%d bytes went past the bound", n)
		}
	}
	p := h.login()
	p.open("RETR f")
	kill(h)
	p.expect(426)
	p.expect(421)
}

// TestRatesForget: bounds of accounts in memory are bounded in number.
func TestRatesForget(t *testing.T) {
	r := &Rates{AccountUp: 1 << 20}
	for i := range int64(3 * manyPaced) {
		r.account(paced{i, true}, 1<<20)
	}
	if n := len(r.accounts); n > manyPaced {
		t.Errorf("%d bounds", n)
	}
	used := r.account(paced{7, false}, 1<<20)
	used.WaitN(t.Context(), used.Burst())
	used.SetLimit(1e-9)
	r.forget()
	if r.account(paced{7, false}, 1<<20) != used || len(r.accounts) != 1 {
		t.Error("a bound in use was forgotten, or another was not")
	}
}
