package outbound

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// mail is a message that a fake server took.
type mail struct {
	from, args string
	to         []string // with their parameters
	body       string   // with dots doubled as it came, without the end
	chunked    bool
	secure     bool
	conn       int
}

// fake is a server that does what a test says.
type fake struct {
	t    testing.TB
	ln   net.Listener
	say  func(conn int, line string) string // a reply (lines with \n), "" for the usual one, "close" to close the connection
	ext  []string                           // of EHLO
	tls  *tls.Config
	lmtp bool

	greeting string

	mu    sync.Mutex
	mails []mail
	conns int
	open  map[net.Conn]bool
	lines []string
	work  sync.WaitGroup
	took  chan struct{}
}

var usual = []string{"PIPELINING", "8BITMIME", "SIZE 10000000", "DSN", "SMTPUTF8", "ENHANCEDSTATUSCODES"}

func serve(t testing.TB, address string, set func(*fake)) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, ln, set)
}

func serveOn(t testing.TB, ln net.Listener, set func(*fake)) *fake {
	f := &fake{t: t, ln: ln, ext: usual, open: map[net.Conn]bool{}, took: make(chan struct{}, 10000), greeting: "220 fake.example.org ESMTP"}
	if set != nil {
		set(f)
	}
	f.work.Go(f.accept)
	t.Cleanup(f.close)
	return f
}

// serveTwo serves at one port of 127.0.0.1 and 127.0.0.2.
func serveTwo(t testing.TB, set func(*fake)) (first, second *fake) {
	t.Helper()
	all := listenOn(t, "127.0.0.1", "127.0.0.2")
	return serveOn(t, all[0], set), serveOn(t, all[1], nil)
}

// reserve takes a port of 127.0.0.1 at which connections are refused until listen is called: nobody else can take it meanwhile.
func reserve(t testing.TB) (port int, listen func() net.Listener) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "reserved")
	t.Cleanup(func() { f.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port, func() net.Listener {
		if err := syscall.Listen(fd, 16); err != nil {
			t.Fatal(err)
		}
		ln, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
}

// listenOn listens at one port of several addresses, which is free at all of them.
func listenOn(t testing.TB, addresses ...string) []net.Listener {
	t.Helper()
	for range 100 {
		all, port := []net.Listener(nil), 0
		for _, a := range addresses {
			ln, err := net.Listen("tcp", net.JoinHostPort(a, strconv.Itoa(port)))
			if err != nil {
				break
			}
			all, port = append(all, ln), ln.Addr().(*net.TCPAddr).Port
		}
		if len(all) == len(addresses) {
			return all
		}
		for _, ln := range all {
			ln.Close()
		}
	}
	t.Fatalf("no port is free at all of %q", addresses)
	return nil
}

func (f *fake) port() int { return f.ln.Addr().(*net.TCPAddr).Port }

func (f *fake) close() {
	f.ln.Close()
	f.mu.Lock()
	for c := range f.open {
		c.Close()
	}
	f.mu.Unlock()
	f.work.Wait()
}

func (f *fake) accept() {
	for {
		c, err := f.ln.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns++
		n := f.conns
		f.open[c] = true
		f.mu.Unlock()
		f.work.Go(func() {
			f.session(c, n)
			f.mu.Lock()
			delete(f.open, c)
			f.mu.Unlock()
			c.Close()
		})
	}
}

// speaker is one connection.
type speaker struct {
	f      *fake
	n      int
	c      net.Conn
	r      *bufio.Reader
	secure bool
	m      mail
}

func (s *speaker) write(reply string) bool {
	_, err := io.WriteString(s.c, strings.ReplaceAll(reply, "\n", "\r\n")+"\r\n")
	return err == nil
}

func (f *fake) session(c net.Conn, n int) {
	c.SetDeadline(time.Now().Add(30 * time.Second))
	s := &speaker{f: f, n: n, c: c, r: bufio.NewReader(c)}
	if g := f.word(n, "connect"); g != "" {
		if g == "close" {
			return
		}
		s.write(g)
	} else {
		s.write(f.greeting)
	}
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		f.mu.Lock()
		f.lines = append(f.lines, line)
		f.mu.Unlock()
		reply := f.word(n, line)
		if reply == "close" {
			return
		}
		if strings.HasPrefix(reply, "last ") {
			s.write(reply[5:])
			return
		}
		if !s.command(line, reply) {
			return
		}
	}
}

func (f *fake) word(n int, line string) string {
	if f.say == nil {
		return ""
	}
	return f.say(n, line)
}

func (s *speaker) command(line, reply string) bool {
	verb, args, _ := strings.Cut(line, " ")
	def := "250 2.0.0 ok"
	if reply == "" {
		reply = def
	}
	good := strings.HasPrefix(reply, "2") || strings.HasPrefix(reply, "3")
	switch strings.ToUpper(verb) {
	case "EHLO", "LHLO":
		if reply == def {
			reply = "250-fake.example.org hello"
			ext := s.f.ext
			if s.f.tls != nil && !s.secure {
				ext = append(ext[:len(ext):len(ext)], "STARTTLS")
			}
			for _, e := range ext {
				reply += "\n250-" + e
			}
			i := strings.LastIndex(reply, "250-")
			reply = reply[:i+3] + " " + reply[i+4:]
		}
	case "MAIL":
		from, args, _ := strings.Cut(strings.TrimPrefix(args, "FROM:<"), ">")
		s.m = mail{from: from, args: args, secure: s.secure, conn: s.n}
		if !good {
			s.m.from = "none"
		}
	case "RCPT":
		if good {
			s.m.to = append(s.m.to, strings.TrimPrefix(args, "TO:"))
		}
	case "DATA":
		if reply == def {
			reply = "354 go on"
			if len(s.m.to) == 0 {
				reply = "554 5.5.1 no valid recipients"
			}
		}
		if !s.write(reply) || !strings.HasPrefix(reply, "354") {
			return strings.HasPrefix(reply, "354") || reply[0] != '2'
		}
		return s.data()
	case "BDAT":
		var n int
		fmt.Sscanf(args, "%d", &n)
		b := make([]byte, n)
		if _, err := io.ReadFull(s.r, b); err != nil {
			return false
		}
		s.m.body, s.m.chunked = string(b), true
		return s.end()
	case "STARTTLS":
		if s.f.tls == nil {
			break
		}
		if reply == def {
			reply = "220 go on"
		}
		s.write(reply)
		if !strings.HasPrefix(reply, "220") {
			return true
		}
		t := tls.Server(s.c, s.f.tls)
		if t.Handshake() != nil {
			return false
		}
		s.c, s.r, s.secure = t, bufio.NewReader(t), true
		return true
	case "QUIT":
		s.write("221 2.0.0 bye")
		return false
	}
	return s.write(reply)
}

func (s *speaker) data() bool {
	var b bytes.Buffer
	for {
		l, err := s.r.ReadString('\n')
		if err != nil {
			return false
		}
		if l == ".\r\n" {
			s.m.body = b.String()
			return s.end()
		}
		b.WriteString(l)
	}
}

func (s *speaker) end() bool {
	reply := s.f.word(s.n, "end")
	if reply == "close" {
		return false
	}
	lines := []string{reply}
	if s.f.lmtp {
		lines = strings.Split(reply, "\n")
	}
	for i := range max(1, len(lines)) {
		r := "250 2.0.0 taken"
		if i < len(lines) && lines[i] != "" {
			r = lines[i]
		}
		if r[0] == '2' && len(s.m.to) > 0 {
			s.f.mu.Lock()
			m := s.m
			if s.f.lmtp {
				m.to = s.m.to[i : i+1]
			}
			s.f.mails = append(s.f.mails, m)
			s.f.mu.Unlock()
			select {
			case s.f.took <- struct{}{}:
			default:
			}
		}
		if len(s.m.to) == 0 {
			r = "503 5.5.1 no valid recipients"
		}
		if !s.write(r) {
			return false
		}
	}
	s.m = mail{}
	return true
}

// all are the messages that were taken.
func (f *fake) all() []mail {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]mail(nil), f.mails...)
}

// said are the lines that came.
func (f *fake) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.lines, "\n")
}
