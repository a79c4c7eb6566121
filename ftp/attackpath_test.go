package ftp

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// attackPaths reads the corpus of names that lead elsewhere.
func attackPaths(t *testing.T) (paths []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/attack/paths")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "# ") {
			continue
		}
		if strings.HasPrefix(line, `"`) {
			plain, err := strconv.Unquote(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			line = plain
		}
		paths = append(paths, line)
	}
	if len(paths) < 200 {
		t.Fatalf("%d paths", len(paths))
	}
	return paths
}

// strangers is what ann must not come by, and how to tell that it is whole: joe's files and mail.
type strangers struct {
	h    *house
	joe  *storage.Account
	tree *vfs.Tree
	was  string
}

const joesWords = "joe's own words"

func (h *house) strangers() *strangers {
	h.t.Helper()
	s := &strangers{h: h, joe: storagetest.Account(h.t, h.store, "joe@example.test")}
	s.tree = h.fs.Tree(s.joe)
	w, err := s.tree.Create(context.Background(), "/secret", vfs.CreateOptions{Expect: -1})
	if err != nil {
		h.t.Fatal(err)
	}
	io.WriteString(w, joesWords)
	if _, err := w.Commit(context.Background()); err != nil {
		h.t.Fatal(err)
	}
	if _, err := h.store.CreateMailbox(context.Background(), s.joe.ID, "Private", ""); err != nil {
		h.t.Fatal(err)
	}
	s.was = s.state()
	return s
}

func (s *strangers) state() string {
	var b strings.Builder
	walk(s.h.t, s.tree, "/", func(p string, i vfs.Info) { fmt.Fprintln(&b, p, i.Mode(), i.Size(), i.ModTime()) })
	return b.String()
}

// unharmed fails the test if joe's tree is another, or ann's has a name that no resolver would find again.
func (s *strangers) unharmed() {
	s.h.t.Helper()
	if now := s.state(); now != s.was {
		s.h.t.Errorf("joe had\n%snow\n%s", s.was, now)
	}
	walk(s.h.t, s.h.fs.Tree(s.h.ann), "/", func(p string, i vfs.Info) {
		if name := i.Name(); name == "" || name == "." || name == ".." || strings.Contains(name, "/") || controlIn(name) || path.Clean(p) != p {
			s.h.t.Errorf("ann has %q", p)
		}
	})
}

// leaked fails the test for an answer that holds what is not ann's.
func leaked(t *testing.T, what, answer string) {
	t.Helper()
	for _, word := range []string{joesWords, "root:", os.TempDir() + "/", "goroutine ", "panic"} {
		if strings.Contains(answer, word) && !strings.Contains(what, word) {
			t.Errorf("%q is answered %q", what, answer)
		}
	}
}

// TestTraversalFTP: no name leads out of an account, by any command.
func TestTraversalFTP(t *testing.T) {
	h := newHouse(t)
	s, p := h.strangers(), h.login()
	p.cmd(257, "MKD /docs")
	h.put("/docs/readme", "read")
	for _, name := range attackPaths(t) {
		if strings.ContainsAny(name, "\n") {
			continue // is two lines: TestControlCharacters
		}
		for _, line := range []string{"SIZE ", "MDTM ", "MLST ", "STAT ", "RNFR ", "MKD ", "CWD ", "SITE CHMOD 600 ", "MFMT 20200101000000 ", "RNFR /docs/readme\r\nRNTO ", "RNFR /docs/inner\r\nRNTO "} {
			if strings.HasPrefix(line, "RNFR /docs/inner") {
				p.send("CWD /")
				p.reply()
				p.send("MKD /docs/inner")
				p.reply()
			}
			p.send("%s%s", line, name)
			for range strings.Count(line, "\n") + 1 {
				_, text := p.reply()
				leaked(t, line+name, text)
			}
			_, text := p.reply2("PWD")
			cwd := unquoted(text)
			if path.Clean(cwd) != cwd || !path.IsAbs(cwd) {
				t.Fatalf("%s%q leads to %q", line, name, cwd)
			}
		}
		p.cmd(250, "CWD /")
		s.transfers(p, name)
		for _, verb := range []string{"RMD ", "DELE "} {
			p.send("%s%s", verb, name)
			_, text := p.reply()
			leaked(t, verb+name, text)
		}
		if _, ok := h.get("/docs/readme"); !ok {
			p.reply2("MKD /docs")
			h.put("/docs/readme", "read")
		}
	}
	s.unharmed()
}

// transfers tries the commands with a data connection.
func (s *strangers) transfers(p *peer, name string) {
	t := s.h.t.(*testing.T)
	for _, verb := range []string{"RETR ", "LIST ", "NLST ", "MLSD ", "STOR ", "APPE ", "STOU "} {
		data := dialFrom(t, "127.0.0.1", int(p.epsv().Port()))
		p.send("%s%s", verb, name)
		code, text := p.reply()
		leaked(t, verb+name, text)
		if code == 150 {
			if strings.HasPrefix(verb, "ST") || verb == "APPE " {
				io.WriteString(data, "of ann's")
				data.Close()
			} else {
				b, _ := io.ReadAll(data)
				leaked(t, verb+name, string(b))
			}
			_, text = p.reply()
			leaked(t, verb+name, text)
		}
		data.Close()
	}
}

// reply2 sends a command and reads its reply, whatever it is.
func (p *peer) reply2(line string) (int, string) {
	p.t.Helper()
	p.send("%s", line)
	return p.reply()
}

// unquoted is the path in a 257 reply.
func unquoted(text string) string {
	_, rest, _ := strings.Cut(text, `"`)
	i := strings.LastIndex(rest, `"`)
	return strings.ReplaceAll(rest[:max(i, 0)], `""`, `"`)
}

// TestTraversalIMAP: the same names, as those of mailboxes.
func TestTraversalIMAP(t *testing.T) {
	h := newHouse(t)
	s, m := h.strangers(), h.mail(h.imap())
	m.ok("LOGIN ann@example.test secret")
	m.ok("CREATE home")
	for _, name := range attackPaths(t) {
		for _, command := range []string{"CREATE", "SUBSCRIBE", "SELECT", "EXAMINE", "GETACL", "MYRIGHTS", "GETQUOTAROOT", `LIST ""`, `LSUB ""`, "RENAME home", "UNSUBSCRIBE"} {
			all, answer, err := m.try(command, name)
			if err != nil { // what is no text at all is answered by BYE
				t.Fatalf("%s %q: %v %s", command, name, err, all)
			}
			if !strings.HasPrefix(answer, "OK") && !strings.HasPrefix(answer, "NO") && !strings.HasPrefix(answer, "BAD") {
				t.Errorf("%s %q: %s", command, name, answer)
			}
			leaked(t, command+name, all)
			if strings.Contains(all, "Private") && !strings.Contains(name, "Private") {
				t.Errorf("%s %q shows joe's mailbox: %s", command, name, all)
			}
		}
		for _, command := range []string{"STATUS %s (MESSAGES)", "COPY 1 %s", "APPEND %s {21+}\r\nSubject: ann\r\n\r\nann's"} {
			all, _ := m.cmd(fmt.Sprintf(command, fmt.Sprintf("{%d+}\r\n%s", len(name), name)))
			leaked(t, command+name, all)
		}
		if _, answer := m.cmd("RENAME", name, "home"); !strings.HasPrefix(answer, "OK") {
			m.cmd("CREATE home")
		}
		m.cmd("DELETE", name)
	}
	for line := range strings.Lines(m.ok(`LIST "" *`)) {
		for part := range strings.SplitSeq(line, "/") {
			if part = strings.Trim(part, "\"\r\n"); part == ".." || part == "." {
				t.Errorf("a mailbox that no path leads to: %q", line)
			}
		}
	}
	s.unharmed()
}
