package ftp

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"
)

// TestSoak: many small transfers over 16 sessions, half of them with TLS, leave nothing behind: no goroutine, no file descriptor and no memory.
// FTP_SOAK is how many transfers each session does in each of five rounds.
func TestSoak(t *testing.T) {
	each := 20
	if text := os.Getenv("FTP_SOAK"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("FTP_SOAK=%s is no number", text)
		}
		each = n
	}
	h := newHouse(t)
	var peers []*peer
	for i := range 16 {
		if i%2 == 0 {
			peers = append(peers, h.login())
		} else {
			peers = append(peers, h.secureLogin(tls.VersionTLS13))
		}
	}
	data := []byte(noise(4096))
	type state struct{ goroutines, files, heap int }
	var states []state
	for range 5 {
		var all sync.WaitGroup
		for i, p := range peers {
			all.Go(func() {
				for n := range each {
					if err := p.soak(data, fmt.Sprintf("soak-%d-%d", i, n/2%10), n%2 == 0); err != nil {
						t.Errorf("session %d, transfer %d: %v", i, n, err)
						return
					}
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		time.Sleep(100 * time.Millisecond) // what the last transfers began to end
		liveHeap()
		liveHeap() // pools are emptied by the second collection
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		states = append(states, state{runtime.NumGoroutine(), len(files), int(liveHeap())})
	}
	// The first rounds open what stays: connections to the database, passive ports, buffers.
	first, last := states[1], states[len(states)-1]
	if transfers := 3 * 16 * each; last.goroutines-first.goroutines > transfers/50 || last.files-first.files > transfers/50 || last.heap-first.heap > 1<<20 {
		t.Errorf("goroutines, descriptors and bytes grow: %v", states)
	}
	t.Log(states)
}

// soak does one transfer: STOR, or RETR of the same. Unlike open it leaves nothing to clean up.
func (p *peer) soak(data []byte, name string, up bool) error {
	verb := "RETR"
	if up {
		verb = "STOR"
	}
	fmt.Fprintf(p.conn, "EPSV\r\n")
	code, text, err := p.tryReply()
	if err != nil || code != 229 {
		return fmt.Errorf("EPSV: %q, %w", text, err)
	}
	var port int
	if _, err := fmt.Sscanf(text, "229 Entering Extended Passive Mode (|||%d|)", &port); err != nil {
		return err
	}
	raw, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return err
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(p.conn, "%s %s\r\n", verb, name)
	if code, text, err := p.tryReply(); err != nil || code != 150 {
		return fmt.Errorf("%s: %q, %w", verb, text, err)
	}
	conn := raw
	if p.prot {
		conn = tls.Client(raw, p.tls)
	}
	if up {
		if _, err := conn.Write(data); err != nil {
			return err
		}
		if tc, ok := conn.(*tls.Conn); ok {
			if err := tc.CloseWrite(); err != nil {
				return err
			}
			io.Copy(io.Discard, tc) // tickets: closing with something unread is a reset
		}
	} else if got, err := io.ReadAll(conn); err != nil || string(got) != string(data) {
		return fmt.Errorf("%d bytes came: %w", len(got), err)
	}
	conn.Close()
	if code, text, err = p.tryReply(); err != nil || code != 226 {
		return fmt.Errorf("%s: %q, %w", verb, text, err)
	}
	return nil
}
