package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

// seen is a socket that notes what ReadFrom is given.
type seen struct {
	*net.TCPConn
	pieces []int64
	other  int // calls with anything but a file in an io.LimitedReader, which sendfile needs
	after  func()
}

func (s *seen) ReadFrom(r io.Reader) (int64, error) {
	limited, ok := r.(*io.LimitedReader)
	if ok {
		_, ok = limited.R.(interface{ Fd() uintptr })
	}
	if !ok {
		s.other++
	}
	n, err := s.TCPConn.ReadFrom(r)
	s.pieces = append(s.pieces, n)
	if s.after != nil {
		s.after()
	}
	return n, err
}

// file returns an open file of size random bytes and what is in it.
func file(t *testing.T, size int) (*os.File, []byte) {
	t.Helper()
	content := make([]byte, size)
	rand.Read(content)
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, content
}

func TestSendfile(t *testing.T) {
	const size = 2*step + 12345
	for _, test := range []struct {
		name   string
		reader func(*os.File) io.Reader
		from   int
		to     int
		pieces int // 0: not the kernel's way
	}{
		{"file", func(f *os.File) io.Reader { return f }, 0, size, 3},
		{"limited", func(f *os.File) io.Reader { return io.LimitReader(f, step+1) }, 0, step + 1, 2},
		{"limited beyond the end", func(f *os.File) io.Reader { return io.LimitReader(f, 10*size) }, 0, size, 3},
		{"one step", func(f *os.File) io.Reader { return io.LimitReader(f, step) }, 0, step, 1},
		{"from an offset", func(f *os.File) io.Reader { f.Seek(100, io.SeekStart); return io.LimitReader(f, 50) }, 100, 150, 1},
		{"no file", func(f *os.File) io.Reader { return io.NewSectionReader(f, 10, step) }, 10, 10 + step, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			f, content := file(t, size)
			c, client := pair(t, New(Options{}), ListenerOptions{})
			below := &seen{TCPConn: c.Conn.(*net.TCPConn)}
			c.Conn = below
			got := make(chan []byte)
			go func() { b, _ := io.ReadAll(client); got <- b }()
			n, err := io.Copy(c, test.reader(f))
			if want := int64(test.to - test.from); n != want || err != nil {
				t.Errorf("copied %d of %d bytes, %v", n, want, err)
			}
			c.Close()
			if !bytes.Equal(<-got, content[test.from:test.to]) {
				t.Error("other bytes arrived")
			}
			if len(below.pieces) != test.pieces || below.other != 0 {
				t.Errorf("pieces %v and %d others, want %d pieces", below.pieces, below.other, test.pieces)
			}
			if out := c.s.Info().BytesOut; out != n {
				t.Errorf("%d bytes counted", out)
			}
		})
	}
}

func TestSendfileKilled(t *testing.T) {
	f, _ := file(t, 8*step)
	c, client := pair(t, New(Options{}), ListenerOptions{})
	below := &seen{TCPConn: c.Conn.(*net.TCPConn)}
	below.after = func() {
		if len(below.pieces) == 2 {
			c.s.Kill(ErrKilled)
		}
	}
	c.Conn = below
	go io.Copy(io.Discard, client)
	n, err := io.Copy(c, f)
	if n != 2*step || !errors.Is(err, os.ErrDeadlineExceeded) || len(below.pieces) != 2 {
		t.Errorf("%d bytes went out, %v", n, err)
	}
	if out := c.s.Info().BytesOut; out != 2*step {
		t.Errorf("%d bytes counted", out)
	}
	if _, err := io.WriteString(c, "421 bye\r\n"); err != nil {
		t.Errorf("no room is left for the goodbye: %v", err)
	}
}

// A peer that takes a large file slowly, but takes it, is no stalled one; sendfile goes on where the deadline
// interrupted it.
func TestSendfileSlowly(t *testing.T) {
	f, content := file(t, 4*step)
	c, client := pair(t, New(Options{}), ListenerOptions{StallTimeout: time.Second})
	client.(*net.TCPConn).SetReadBuffer(16 << 10)
	c.Conn.(*net.TCPConn).SetWriteBuffer(16 << 10)
	got := make(chan []byte)
	go func() {
		var all bytes.Buffer
		for all.Len() < 2*step { // over a second for each step of the first half
			if n, err := io.CopyN(&all, client, step/16); n == 0 || err != nil {
				break
			}
			time.Sleep(80 * time.Millisecond)
		}
		io.Copy(&all, client)
		got <- all.Bytes()
	}()
	n, err := io.Copy(c, f)
	c.Close()
	if !bytes.Equal(<-got, content) || n != int64(len(content)) || err != nil {
		t.Errorf("%d bytes went out, %v, ending %v", n, err, c.s.Ending())
	}
}

func TestGoodbyeIsBounded(t *testing.T) {
	c, client := pair(t, New(Options{}), ListenerOptions{})
	go io.Copy(io.Discard, client)
	c.s.Kill(ErrKilled)
	total := 0
	for {
		n, err := c.Write(make([]byte, 16<<10))
		if total += n; err != nil {
			break
		}
		if total > 10*maxFarewell {
			t.Fatal("a killed session may write for ever")
		}
	}
	if total != maxFarewell {
		t.Errorf("%d bytes were written after the end was announced", total)
	}
	client.Close()
}

// A goodbye arrives although the client's commands were not read: a plain close would have reset the connection.
func TestGoodbyeArrives(t *testing.T) {
	for range 20 {
		c, client := pair(t, New(Options{}), ListenerOptions{})
		client.Write(bytes.Repeat([]byte("NOOP\r\n"), 10_000))
		c.s.Kill(ErrKilled)
		c.Write([]byte("421 bye\r\n"))
		closed := make(chan struct{})
		go func() { c.Close(); close(closed) }()
		time.Sleep(5 * time.Millisecond)
		if got, err := io.ReadAll(client); err != nil || string(got) != "421 bye\r\n" {
			t.Fatalf("the client read %q, %v", got, err)
		}
		client.Close()
		<-closed
	}
}

func TestGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := pipe(t, New(Options{Grace: 3 * time.Second}), ListenerOptions{})
		start := time.Now()
		time.AfterFunc(time.Second, func() { c.s.Kill(ErrKilled) })
		_, err := c.Write([]byte("a reply that nobody takes")) // the protocol does not even notice
		if err == nil || time.Since(start) != 4*time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if c.s.Info().State != Ended {
			t.Error("the socket is open")
		}
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it can be read")
		}
		if err := c.SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a deadline on a closed connection: %v", err)
		}
	})
}

func TestBulkIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, client := pipe(t, New(Options{}), ListenerOptions{LoginTimeout: -1, IdleTimeout: time.Minute})
		start := time.Now()
		go io.Copy(io.Discard, client)
		go func() {
			for i := range 10 {
				time.Sleep(30 * time.Second)
				if i < 6 {
					c.Write(make([]byte, bulk))
				} else {
					c.Write([]byte("* OK still here\r\n"))
				}
			}
		}()
		c.Read(make([]byte, 1))
		if took := time.Since(start); took != 4*time.Minute || !errors.Is(c.s.Ending(), ErrIdle) {
			t.Errorf("%v after %v", c.s.Ending(), took)
		}
		time.Sleep(time.Hour)
	})
}

func TestEndReason(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(c *Conn, client net.Conn)
		want string
	}{
		{"server", func(c *Conn, _ net.Conn) {}, "connection closed"},
		{"client", func(c *Conn, client net.Conn) { client.Close(); c.Read(make([]byte, 1)) }, "closed by the client"},
		{"reset", func(c *Conn, client net.Conn) {
			client.(*net.TCPConn).SetLinger(0)
			client.Close()
			c.Read(make([]byte, 1))
		}, "reset by the client"},
		{"words", func(c *Conn, client net.Conn) {
			client.Close()
			c.Read(make([]byte, 1))
			c.s.SetEnd("lost connection after DATA")
			c.s.SetEnd("later words")
		}, "lost connection after DATA"},
		{"killed", func(c *Conn, client net.Conn) { c.s.SetEnd("logout"); c.s.Kill(ErrRevoked); client.Close() }, ErrRevoked.Error()},
		{"no cause", func(c *Conn, client net.Conn) { c.s.Kill(nil); client.Close() }, ErrKilled.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, client := pair(t, New(Options{}), ListenerOptions{})
			test.end(c, client)
			c.Close()
			if i := c.s.Info(); i.EndReason != test.want || i.State != Ended {
				t.Errorf("ended with %q, want %q", i.EndReason, test.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"Thunderbird/140 (é)", "Thunderbird/140 (é)"},
		{"a\r\nb\x00\x7f\u0085\u202e\u2028", "a??b?????"},
		{"\xff\xfe", "??"},
		{strings.Repeat("x", 19) + "é", strings.Repeat("x", 19)},
		{strings.Repeat("é", 11), strings.Repeat("é", 10)},
		{strings.Repeat("\x80", 30), strings.Repeat("?", 16)}, // no character is cut: the search for its start is bounded
	} {
		if got := clean(test.in, 20); got != test.want {
			t.Errorf("clean(%q) = %q, want %q", test.in, got, test.want)
		}
	}
}

func FuzzClean(f *testing.F) {
	for _, seed := range []string{"", "Thunderbird", "\r\n", "\xc3", "\u202ex\u00e9", strings.Repeat("\u20ac", 9), "\xf0\x9f\x92"} {
		f.Add(seed, 20)
	}
	f.Fuzz(func(t *testing.T, text string, limit int) {
		if limit < 0 || limit > 1000 {
			return
		}
		got := clean(text, limit)
		if len(got) > limit || !utf8.ValidString(got) || strings.ContainsFunc(got, unicode.IsControl) {
			t.Errorf("clean(%q, %d) = %q", text, limit, got)
		}
		if again := clean(got, limit); again != got {
			t.Errorf("cleaned twice: %q, then %q", got, again)
		}
	})
}

// net/http wakes its reader with a deadline in the past and goes on; a drain ends its idle connections.
func TestHTTP(t *testing.T) {
	r := New(Options{})
	ln := listen(t, r, ListenerOptions{Protocol: HTTP})
	type key struct{}
	server := &http.Server{
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, From(c))
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			s := q.Context().Value(key{}).(*Session)
			s.Begin(q.Method + " " + q.URL.Path)
			defer s.Done()
			io.WriteString(w, s.ID())
		}),
	}
	served := make(chan error)
	go func() { served <- server.Serve(ln) }()
	client := &http.Client{Transport: &http.Transport{}}
	ids := make(map[string]bool)
	for range 5 {
		answer, err := client.Get("http://" + ln.Addr().String() + "/live")
		if err != nil {
			t.Fatal(err)
		}
		id, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		ids[string(id)] = true
	}
	if len(ids) != 1 {
		t.Errorf("one connection was kept alive as %d sessions", len(ids))
	}
	if list := r.List(); len(list) != 1 || list[0].Activity != "GET /live" || list[0].Commands != 5 {
		t.Errorf("sessions: %+v", list)
	}
	if err := r.Drain(t.Context()); err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	server.Close()
	<-served
}
