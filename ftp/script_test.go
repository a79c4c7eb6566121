package ftp

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// scriptEnv is what the scripts of testdata can use. The commands of Do that speak do so on the connection that was opened
// last, and expect that nothing of it was read ahead.
func scriptEnv(t *testing.T) sessiontest.Env {
	h := newHouse(t)
	srv := New(h.fs, h.door, Options{TLS: h.tls, PassivePorts: h.pool})
	ln6, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	addr6 := serveOn(t, h.reg, ln6, srv)
	back := h.listen(func(o *Options) { o.RestoreFolder = true })
	var last net.Conn
	dirs := map[string]string{} // host folders by mount
	keep := func(addr string) func(context.Context) (net.Conn, error) {
		return func(ctx context.Context) (net.Conn, error) {
			conn, err := sessiontest.TCP(addr)(ctx)
			last = conn
			return conn, err
		}
	}
	// say sends lines and reads as many replies.
	say := func(t testing.TB, lines ...string) []string {
		t.Helper()
		if _, err := fmt.Fprint(last, strings.Join(lines, "\r\n")+"\r\n"); err != nil {
			t.Fatal(err)
		}
		br := bufio.NewReader(last)
		var replies []string
		for range lines {
			line, err := br.ReadString('\n')
			if err != nil {
				t.Fatalf("after %d replies: %v", len(replies), err)
			}
			replies = append(replies, strings.TrimSpace(line))
		}
		return replies
	}
	env := sessiontest.Env{
		Dial:     map[string]func(context.Context) (net.Conn, error){"ftp": keep(h.addr), "ftp6": keep(addr6), "front": keep(behind(t, h)), "ftpback": keep(back), "guest": guestDial(h)},
		TLS:      h.client,
		Registry: h.reg,
		Do: map[string]func(testing.TB, ...string){
			"login": func(t testing.TB, _ ...string) {
				if got := say(t, "USER ann@example.test", "PASS secret"); !strings.HasPrefix(got[1], "230") {
					t.Fatal(got)
				}
			},
			"put":  func(_ testing.TB, args ...string) { h.put(args[0], args[1]) },
			"part": func(_ testing.TB, args ...string) { h.part(args[0], args[1]) },
			"passwd": func(t testing.TB, _ ...string) {
				if err := h.door.SetPassword(t.Context(), h.ann.ID, "secret"); err != nil {
					t.Fatal(err)
				}
			},
			"mount": func(_ testing.TB, args ...string) { dirs[args[0]] = h.mounted(args[0], len(args) > 1) },
			"hostfile": func(t testing.TB, args ...string) { // into a mount, on the host
				if err := os.WriteFile(filepath.Join(dirs[path.Dir(args[0])], path.Base(args[0])), []byte(args[1]), 0o644); err != nil {
					t.Fatal(err)
				}
			},
			"unmount": func(t testing.TB, args ...string) {
				if _, err := h.store.RemoveMount(t.Context(), h.ann.ID, args[0]); err != nil {
					t.Fatal(err)
				}
			},
			"long": func(t testing.TB, args ...string) { // a name of so many bytes
				n, _ := strconv.Atoi(args[1])
				fmt.Fprintf(last, "MKD %s\r\n", strings.Repeat("n", n))
			},
			"deep": func(t testing.TB, args ...string) { // folders in folders
				n, _ := strconv.Atoi(args[1])
				fmt.Fprintf(last, "MKD %s\r\n", strings.Repeat("d/", n))
			},
			"burst": func(t testing.TB, args ...string) {
				n, _ := strconv.Atoi(args[1])
				var lines, want []string
				for i := range n {
					lines = append(lines, "RETR missing", "SIZE missing", "PWD", "NOOP", fmt.Sprintf("NONSENSE%d", i))
					want = append(want, "425", "550", "257", "200", "500")
				}
				for i, got := range say(t, lines...) {
					if !strings.HasPrefix(got, want[i]) {
						t.Fatalf("reply %d to %q: %q", i, lines[i], got)
					}
				}
			},
		},
	}
	maps.Copy(env.Do, accessCommands(h))
	return env
}

// serveOn serves on a listener that was made elsewhere.
func serveOn(t *testing.T, reg *session.Registry, ln net.Listener, srv *Server) string {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	wrapped := reg.Listen(ln, session.ListenerOptions{Name: "ftp", Protocol: session.FTP, Refusal: Refusal})
	go func() { done <- srv.Serve(ctx, wrapped) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestScripts(t *testing.T) { sessiontest.PlayFiles(t, "testdata/*.txt", scriptEnv) }
