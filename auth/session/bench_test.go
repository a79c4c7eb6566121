package session

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"
)

// ends returns a connected pair of sockets, the server's side as the session's connection or bare.
func ends(b *testing.B, bare bool) (server, client net.Conn) {
	b.Helper()
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer below.Close()
	if client, err = net.Dial("tcp", below.Addr().String()); err != nil {
		b.Fatal(err)
	}
	ln := below
	if !bare {
		ln = New(Options{}).Listen(below, ListenerOptions{Protocol: IMAP})
	}
	if server, err = ln.Accept(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { client.Close(); server.Close() })
	return server, client
}

func eachEnd(b *testing.B, run func(b *testing.B, server, client net.Conn)) {
	for _, kind := range []string{"bare", "session"} {
		b.Run(kind, func(b *testing.B) {
			server, client := ends(b, kind == "bare")
			b.ReportAllocs()
			run(b, server, client)
		})
	}
}

// BenchmarkRead reads bytes that are there already, one a Read: as many calls as the kernel can answer.
func BenchmarkRead(b *testing.B) {
	eachEnd(b, func(b *testing.B, server, client net.Conn) {
		piece := make([]byte, 32<<10)
		one := make([]byte, 1)
		left := 0
		for b.Loop() {
			if left == 0 {
				b.StopTimer()
				if _, err := client.Write(piece); err != nil {
					b.Fatal(err)
				}
				left = len(piece)
				b.StartTimer()
			}
			if _, err := server.Read(one); err != nil {
				b.Fatal(err)
			}
			left--
		}
	})
}

// BenchmarkWrite writes replies of 64 bytes.
func BenchmarkWrite(b *testing.B) {
	eachEnd(b, func(b *testing.B, server, client net.Conn) {
		done := make(chan struct{})
		go func() { io.Copy(io.Discard, client); close(done) }()
		reply := make([]byte, 64)
		for b.Loop() {
			if _, err := server.Write(reply); err != nil {
				b.Fatal(err)
			}
		}
		server.Close()
		<-done
	})
}

// BenchmarkDialogue is a command and its reply, as a protocol has them, with a read deadline set for each command.
func BenchmarkDialogue(b *testing.B) {
	eachEnd(b, func(b *testing.B, server, client net.Conn) {
		go func() {
			line := make([]byte, 64)
			for {
				server.SetReadDeadline(time.Now().Add(5 * time.Minute))
				n, err := server.Read(line)
				if err != nil {
					return
				}
				server.Write(line[:n])
			}
		}()
		line := make([]byte, 64)
		for b.Loop() {
			client.Write(line)
			if _, err := io.ReadFull(client, line); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFile sends a file of 64 MiB.
func BenchmarkFile(b *testing.B) {
	const size = 64 << 20
	name := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	eachEnd(b, func(b *testing.B, server, client net.Conn) {
		f, err := os.Open(name)
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		done := make(chan struct{})
		go func() { io.Copy(io.Discard, struct{ io.Reader }{client}); close(done) }()
		b.SetBytes(size)
		for b.Loop() {
			f.Seek(0, io.SeekStart)
			if n, err := io.Copy(server, f); n != size || err != nil {
				b.Fatal(n, err)
			}
		}
		server.Close()
		<-done
	})
}

// BenchmarkCommand is what a command costs in bookkeeping.
func BenchmarkCommand(b *testing.B) {
	server, _ := ends(b, false)
	s := From(server)
	b.ReportAllocs()
	for b.Loop() {
		s.Begin("NOOP")
		s.Done()
	}
}

// BenchmarkAccept is a connection from connect to close, both ends in this process.
func BenchmarkAccept(b *testing.B) {
	for _, kind := range []string{"bare", "session"} {
		b.Run(kind, func(b *testing.B) {
			below, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer below.Close()
			ln := below
			if kind == "session" {
				ln = New(Options{Limits: Limits{Total: 10, PerAddress: 10}}).Listen(below, ListenerOptions{Protocol: IMAP})
			}
			b.ReportAllocs()
			for b.Loop() {
				client, err := net.Dial("tcp", below.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				server, err := ln.Accept()
				if err != nil {
					b.Fatal(err)
				}
				client.(*net.TCPConn).SetLinger(0) // or the ports run out
				client.Close()
				server.Close()
			}
		})
	}
}

// BenchmarkSetReadDeadline is the runtime's own cost of what Conn avoids.
func BenchmarkSetReadDeadline(b *testing.B) {
	eachEnd(b, func(b *testing.B, server, _ net.Conn) {
		for b.Loop() {
			server.SetReadDeadline(time.Now().Add(5 * time.Minute))
		}
	})
}

// mute is a socket that costs nothing, to weigh what a session adds to one.
type mute struct {
	net.Conn
	remote net.TCPAddr
}

func (m *mute) RemoteAddr() net.Addr             { return &m.remote }
func (m *mute) LocalAddr() net.Addr              { return &m.remote }
func (m *mute) SetReadDeadline(time.Time) error  { return nil }
func (m *mute) SetWriteDeadline(time.Time) error { return nil }
func (m *mute) Close() error                     { return nil }

// heap is what is in use after the rubbish was taken out.
func heapInUse() (heap, stack uint64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, m.StackInuse
}

// BenchmarkMemory reports the bytes that an idle session costs besides its socket and goroutine, with all
// peers on one address and each on its own, and then with both on loopback.
func BenchmarkMemory(b *testing.B) {
	const many = 5000
	for _, peers := range []int{1, many} {
		b.Run(fmt.Sprintf("session/peers=%d", peers), func(b *testing.B) {
			for b.Loop() {
				r := New(Options{})
				below := make(oneListener, 1)
				ln := r.Listen(below, ListenerOptions{Protocol: IMAP})
				socks := make([]mute, many)
				for i := range socks {
					socks[i].remote = *net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i % peers >> 8), byte(i % peers)}), uint16(i)))
				}
				before, _ := heapInUse()
				for i := range socks {
					below <- &socks[i]
					c, err := ln.Accept()
					if err != nil {
						b.Fatal(err)
					}
					if err := From(c).Login(Account{ID: int64(1 + i%peers), Name: "ann@example.test"}); err != nil {
						b.Fatal(err)
					}
				}
				after, _ := heapInUse()
				b.ReportMetric(float64(after-before)/many, "B/session")
				b.ReportMetric(float64(unsafe.Sizeof(Session{})), "B/struct")
				for _, s := range r.all() {
					s.conn.Close()
				}
			}
		})
	}
	for _, kind := range []string{"bare", "session"} {
		b.Run("parked/"+kind, func(b *testing.B) {
			for b.Loop() {
				parked(b, many, kind == "bare")
			}
		})
	}
}

// parked reports what a connection costs in the server, with a goroutine that waits in Read; the clients' ends
// are in this process, too, and are counted before.
func parked(b *testing.B, many int, bare bool) {
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer below.Close()
	ln := below
	if !bare {
		ln = New(Options{}).Listen(below, ListenerOptions{Protocol: IMAP})
	}
	clients, servers := make([]net.Conn, many), make([]net.Conn, many)
	heap0, stack0 := heapInUse()
	ended := make(chan struct{}, many)
	for i := range clients {
		if clients[i], err = net.Dial("tcp", below.Addr().String()); err != nil {
			b.Fatal(err)
		}
		if servers[i], err = ln.Accept(); err != nil {
			b.Fatal(err)
		}
		go func() {
			servers[i].Read(make([]byte, 1))
			ended <- struct{}{}
		}()
	}
	time.Sleep(100 * time.Millisecond)
	heap1, stack1 := heapInUse()
	b.ReportMetric(float64(heap1-heap0)/float64(many), "B-heap/pair")
	b.ReportMetric(float64(stack1-stack0)/float64(many), "B-stack/pair")
	for i := range clients {
		clients[i].Close()
		<-ended
		servers[i].Close()
	}
}
