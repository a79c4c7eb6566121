package sessiontest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// Env is what a script can use.
type Env struct {
	Dial     map[string]func(context.Context) (net.Conn, error) // by kind; see TCP and OverTLS
	Do       map[string]func(t testing.TB, args ...string)      // by name; runs in the test's goroutine
	TLS      *tls.Config                                        // for starttls
	Registry *session.Registry                                  // for "kill" and "session"
	Vars     map[string]string                                  // known from the start; what the script keeps is added, so functions of Do can read and set them; may be nil
}

// Play runs a script and fails the test at the first step that does not come out. The connections that
// are open at its end are closed.
func Play(t testing.TB, script string, env Env) {
	t.Helper()
	statements, err := parse(script)
	if err != nil {
		t.Fatal(err)
	}
	if env.Vars == nil {
		env.Vars = make(map[string]string)
	}
	p := &player{t: t, env: env, patience: patience, peers: make(map[string]*peer)}
	defer p.end()
	for _, s := range statements {
		p.line = s.line
		if err := p.do(s); err != nil {
			t.Fatalf("script line %d: %s\n\t%v", s.line, s.text, err)
		}
	}
}

// PlayFiles plays each script that glob matches as a subtest, in an Env of its own. It fails when there is none.
func PlayFiles(t *testing.T, glob string, env func(*testing.T) Env) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil || len(files) == 0 {
		t.Fatalf("no script %s (%v)", glob, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			script, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			Play(t, string(script), env(t))
		})
	}
}

// player runs one script. Everything happens in the test's goroutine.
type player struct {
	t        testing.TB
	env      Env
	patience time.Duration // for each wait
	line     int
	peers    map[string]*peer
	said     []string // the transcript
}

// end closes all connections and shows the transcript of a failed test.
func (p *player) end() {
	for _, peer := range p.peers {
		peer.conn.Close()
	}
	if p.t.Failed() {
		p.t.Logf("what was said (script line, connection, direction):\n%s", strings.Join(p.said, "\n"))
	}
}

func (p *player) note(who, direction, text string) {
	const most = 300
	if len(text) > most {
		text = fmt.Sprintf("%s... (%d bytes)", text[:most], len(text))
	}
	quoted := strconv.Quote(text)
	p.said = append(p.said, fmt.Sprintf("%4d  %s%s %s", p.line, who, direction, quoted[1:len(quoted)-1]))
}

func (p *player) by() time.Time { return time.Now().Add(p.patience) }

func (p *player) do(s statement) error {
	switch s.verb {
	case "!":
		return p.call(s.arg)
	case "=":
		return p.open(s.who, s.arg)
	case "sleep", "timeout":
		n, err := strconv.Atoi(s.arg)
		if s.verb == "sleep" {
			time.Sleep(time.Duration(n) * time.Millisecond)
		} else {
			p.patience = time.Duration(n) * time.Second
		}
		return err
	}
	peer := p.peers[s.who]
	if peer == nil {
		return fmt.Errorf("there is no connection %s", s.who)
	}
	switch s.verb {
	case ">", ">-":
		return p.send(peer, s)
	case "<", "<<", "<-", "<~":
		return p.expect(peer, s)
	case "starttls":
		p.note(s.who, "", "(TLS)")
		return peer.startTLS(p.env.TLS, p.by())
	case "close":
		p.note(s.who, "", "(closes)")
		return peer.conn.Close()
	case "closewrite":
		p.note(s.who, "", "(closes its half)")
		return peer.closeWrite()
	case "kill":
		p.note(s.who, "", "(killed)")
		return p.kill(peer)
	}
	return p.await(peer, s.arg) // session
}

func (p *player) open(who, kind string) error {
	dial := p.env.Dial[kind]
	if dial == nil {
		return fmt.Errorf("Env.Dial has no %q", kind)
	}
	if old := p.peers[who]; old != nil {
		old.conn.Close()
	}
	ctx, cancel := context.WithDeadline(context.Background(), p.by())
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return err
	}
	p.note(who, " =", kind)
	p.peers[who] = &peer{conn: c}
	return nil
}

func (p *player) call(arg string) error {
	args, err := fields(expand(arg, p.env.Vars))
	if err != nil {
		return err
	}
	if len(args) == 0 || p.env.Do[args[0]] == nil {
		return fmt.Errorf("Env.Do has no such name; it has %v", slices.Sorted(maps.Keys(p.env.Do)))
	}
	p.note("!", "", arg)
	p.env.Do[args[0]](p.t, args[1:]...)
	return nil
}

func (p *player) send(peer *peer, s statement) error {
	if s.verb == ">-" {
		text, err := strconv.Unquote(s.arg)
		if err != nil {
			return fmt.Errorf("not a Go string: %s", s.arg)
		}
		text = expand(text, p.env.Vars)
		p.note(s.who, ">-", text)
		return peer.write([]byte(text), p.by())
	}
	lines := s.lines
	if lines == nil {
		lines = []string{s.arg}
	}
	var all []byte
	for _, line := range lines {
		line = expand(line, p.env.Vars)
		p.note(s.who, ">", line)
		all = append(append(all, line...), '\r', '\n')
	}
	return peer.write(all, p.by())
}

func (p *player) expect(peer *peer, s statement) error {
	switch {
	case s.verb == "<~":
		ms, err := strconv.Atoi(s.arg)
		if err != nil {
			return err
		}
		return peer.quiet(time.Now().Add(time.Duration(ms) * time.Millisecond))
	case s.verb == "<-":
		return p.expectBytes(peer, s)
	case s.arg == "CLOSED" && s.verb == "<":
		return peer.gone(p.by())
	case s.lines != nil:
		for _, line := range s.lines {
			if err := p.expectLine(peer, s.who, line, false); err != nil {
				return fmt.Errorf("%s: %w", line, err)
			}
		}
		return nil
	}
	return p.expectLine(peer, s.who, s.arg, s.verb == "<<")
}

func (p *player) expectBytes(peer *peer, s statement) error {
	text, err := strconv.Unquote(s.arg)
	if err != nil {
		return fmt.Errorf("not a Go string: %s", s.arg)
	}
	want := expand(text, p.env.Vars)
	got, err := peer.readBytes(len(want), p.by())
	p.note(s.who, "<-", string(got))
	if string(got) != want {
		return fmt.Errorf("got %q (%v)", got, err)
	}
	return nil
}

// expectLine reads lines until one matches, or just one; EOF stands for the end of the stream.
func (p *player) expectLine(peer *peer, who, want string, skip bool) error {
	re, err := pattern(want, p.env.Vars)
	if err != nil {
		return err
	}
	by := p.by()
	for {
		line, err := peer.readLine(by)
		if err != nil {
			if ended(err) {
				p.note(who, "<", "EOF")
			}
			if ended(err) && want == "EOF" {
				return nil
			}
			return err
		}
		p.note(who, "<", line)
		if match := re.FindStringSubmatch(wide(line)); match != nil && want != "EOF" {
			for i, name := range re.SubexpNames() {
				if name != "" {
					p.env.Vars[name] = narrow(match[i])
				}
			}
			return nil
		}
		if !skip {
			return fmt.Errorf("got %q", line)
		}
	}
}

// session finds the server's side of a connection.
func (p *player) session(peer *peer) (*session.Session, error) {
	if p.env.Registry == nil {
		return nil, errors.New("Env.Registry is not set")
	}
	local := peer.conn.LocalAddr().String()
	for by := p.by(); time.Now().Before(by); time.Sleep(time.Millisecond) {
		for _, i := range p.env.Registry.List() {
			if s, ok := p.env.Registry.Get(i.ID); ok && (i.Remote == local || i.Front == local) {
				return s, nil
			}
		}
	}
	return nil, fmt.Errorf("no session comes from %s", local)
}

func (p *player) kill(peer *peer) error {
	s, err := p.session(peer)
	if err == nil {
		s.Kill(session.ErrKilled)
	}
	return err
}

// await waits until the session's Info has what arg says: its fields by their names in JSON, each with a pattern.
func (p *player) await(peer *peer, arg string) error {
	wants, err := fields(arg)
	if err != nil {
		return err
	}
	s, err := p.session(peer)
	if err != nil {
		return err
	}
	var missing error
	for by := p.by(); time.Now().Before(by); time.Sleep(time.Millisecond) {
		if missing = p.has(s.Info(), wants); missing == nil {
			return nil
		}
	}
	return missing
}

// has is nil when i has all of wants ("state=idle").
func (p *player) has(i session.Info, wants []string) error {
	text, err := json.Marshal(i)
	if err != nil {
		return err
	}
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return err
	}
	for _, want := range wants {
		name, value, _ := strings.Cut(want, "=")
		re, err := pattern(value, p.env.Vars)
		if err != nil {
			return err
		}
		got := ""
		if values[name] != nil {
			got = fmt.Sprint(values[name])
		}
		if !re.MatchString(wide(got)) {
			return fmt.Errorf("%s is %q in %s", name, got, text)
		}
	}
	return nil
}
