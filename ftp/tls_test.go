package ftp

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseReuse(t *testing.T) {
	for in, want := range map[string]struct {
		all   Reuse
		rules []ReuseRule
		err   string
	}{
		"":        {all: ReusePrefer},
		"require": {all: ReuseRequire},
		"require, listener ftp: off,account Robot@*:prefer": {all: ReuseRequire, rules: []ReuseRule{{"ftp", "", ReuseOff}, {"", "robot@*", ReusePrefer}}},
		"listener ftps account ann@example.test : require":  {all: ReusePrefer, rules: []ReuseRule{{"ftps", "ann@example.test", ReuseRequire}}},
		"always":                               {err: "want require, prefer or off"},
		"require, off":                         {err: "named before"},
		"account ann: off":                     {err: "cannot be for an account"},
		"host x: prefer":                       {err: "want listener or account"},
		"listener: prefer":                     {err: "want listener or account"},
		": prefer":                             {err: "want listener or account"},
		"listener a listener b: off":           {err: "want listener or account"},
		"listener [: off":                      {err: "is no pattern"},
		strings.Repeat("listener a: off,", 65): {err: "at most 64"},
	} {
		all, rules, err := ParseReuse(in)
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%q: %v, want %s", in, err, want.err)
			}
			continue
		}
		if err != nil || all != want.all || !reflect.DeepEqual(rules, want.rules) {
			t.Errorf("%q: %s %v %v", in, all, rules, err)
		}
	}
}

func TestReuseRules(t *testing.T) {
	all, rules, err := ParseReuse("off, listener ftps: require, account robot@*: prefer, account *@example.test: require")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{DataTLSReuse: all, ReuseRules: rules}
	for _, test := range []struct {
		listener, account string
		want              Reuse
	}{
		{"ftps", "", ReuseRequire}, {"ftp", "", ReuseOff}, {"FTPS", "robot@example.test", ReuseRequire},
		{"ftp", "robot@example.test", ReusePrefer}, {"ftp", "Ann@Example.test", ReuseRequire}, {"ftp", "ann@example.org", ReuseOff},
	} {
		if got := o.reuse(test.listener, test.account); got != test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
	if !o.tickets("ftp") { // somebody who is asked to resume must be able to
		t.Error("no tickets")
	}
	if (&Options{DataTLSReuse: ReuseOff}).tickets("ftp") {
		t.Error("tickets where they are off")
	}
}

// TestReuseAccount: what the listener asks for is not asked of an account that cannot do it, and the other way round.
func TestReuseAccount(t *testing.T) {
	for policy, want := range map[string]int{"require, account ann@*: prefer": 226, "prefer, account ann@*: require": 522, "off, account ann@*: require": 522} {
		h := newHouse(t, func(o *Options) { o.DataTLSReuse, o.ReuseRules, _ = ParseReuse(policy) })
		h.put("/a", "content")
		p := h.secureLogin(0)
		io.Copy(io.Discard, p.open("RETR a"))
		p.expect(226)
		p.tls.ClientSessionCache = nil
		io.Copy(io.Discard, p.open("RETR a"))
		p.expect(want)
	}
}

// counted counts the tickets that a client is given.
type counted struct {
	tls.ClientSessionCache
	puts int
}

func (c *counted) Put(key string, cs *tls.ClientSessionState) {
	if cs != nil {
		c.puts++
	}
	c.ClientSessionCache.Put(key, cs)
}

// TestTickets: a client that reads gets a new ticket on the way, one that only sends gets none that it would leave unread.
func TestTickets(t *testing.T) {
	for _, resume := range []bool{true, false} {
		h := newHouse(t)
		p := h.secureLogin(tls.VersionTLS13)
		cache := &counted{ClientSessionCache: p.tls.ClientSessionCache}
		if !resume {
			cache.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		p.tls.ClientSessionCache = cache
		for i := range 3 {
			conn := p.open("STOR a").(*tls.Conn)
			io.WriteString(conn, "content")
			conn.CloseWrite()
			io.Copy(io.Discard, conn)
			if got := conn.ConnectionState().DidResume; got != resume {
				t.Errorf("upload %d: resumed %v", i, got)
			}
			p.expect(226)
		}
		if cache.puts != 0 {
			t.Errorf("resume %v: %d tickets with uploads", resume, cache.puts)
		}
		p.retr("RETR a")
		p.retr("MLSD")
		if cache.puts != 2 {
			t.Errorf("resume %v: %d tickets with downloads", resume, cache.puts)
		}
	}
}

// TestUploadAndGo: a client that closes its socket without having read what the server sent loses nothing of its upload.
func TestUploadAndGo(t *testing.T) {
	h := newHouse(t)
	content := noise(8 << 20)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		p := h.secureLogin(version)
		for i := range 3 {
			if code := p.stor(content, "STOR big%d", i); code != 226 {
				t.Fatalf("TLS %x, upload %d: %d", version, i, code)
			}
		}
	}
}

// TestALPNOnControl: who wants another protocol is told so by the alert that is for it; on data connections none is needed.
func TestALPNOnControl(t *testing.T) {
	h := newHouse(t)
	for _, protos := range [][]string{{"h2", "http/1.1"}, {"imap"}, {"smtp"}, {"http/1.1"}} {
		p := h.dial()
		p.cmd(234, "AUTH TLS")
		conf := h.client.Clone()
		conf.NextProtos = protos
		err := tls.Client(p.raw, conf).Handshake()
		var alert tls.AlertError
		if op := (*net.OpError)(nil); !errors.As(err, &alert) && !(errors.As(err, &op) && strings.Contains(err.Error(), "no application protocol")) {
			t.Errorf("%v: %v", protos, err)
		} else if !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("%v: %v", protos, err)
		}
	}
	h.put("/a", "content")
	p := h.secureLogin(0)
	p.tls.NextProtos = []string{"ftp-data"}
	if got := p.retr("RETR a"); got != "content" {
		t.Errorf("%q", got)
	}
}

// TestTLSInTLS: a second AUTH and bytes of a second handshake inside the first are refused.
func TestTLSInTLS(t *testing.T) {
	h := newHouse(t)
	implicit := h.listen(func(o *Options) { o.ImplicitTLS = true })
	conn, err := tls.Dial("tcp", implicit, h.client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, p := range []*peer{
		{t: t, conn: conn, br: bufio.NewReader(conn)},
		func() *peer { p := h.dial(); h.secure(p, 0); return p }(),
	} {
		if p.conn == conn {
			p.expect(220)
		}
		p.cmd(503, "AUTH TLS")
		p.cmd(503, "AUTH SSL")
		p.conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprint(p.conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
		p.expect(500)
		if _, _, err := p.tryReply(); err == nil || errors.Is(err, net.ErrClosed) {
			t.Errorf("after a hello: %v", err)
		}
	}
}
