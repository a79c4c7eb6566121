package ftp

import (
	"bufio"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestRandomDialogues: sessions that say anything in any order get one reply for each line, each reply is well formed, and nothing in the server
// is surprised: no panic, and no error of its own.
func TestRandomDialogues(t *testing.T) {
	book := &logBook{}
	h := newHouse(t, book.into, func(o *Options) { o.ConnectTimeout, o.StallTimeout = 30*time.Millisecond, 200*time.Millisecond })
	h.put("/f0", "content")
	m := h.mail(h.imap())
	m.ok("LOGIN ann@example.test secret")
	m.ok("APPEND INBOX", "Subject: one\r\n\r\nbody\r\n")
	var verbs []string
	for _, c := range commandTable() {
		if c.name != "QUIT" && c.name != "REIN" && c.name != "AUTH" {
			verbs = append(verbs, c.name)
		}
	}
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(11, uint64(i)))
			for range 25 {
				h.babble(r, verbs)
			}
		})
	}
	wg.Wait()
	surprise := regexp.MustCompile(`(?m)^.*(msg=panic|level=ERROR|command failed).*$`)
	if found := surprise.FindAllString(book.String(), 5); found != nil {
		t.Errorf("the log has\n%s", strings.Join(found, "\n"))
	}
	if code := h.login().stor("fine", "STOR fine"); code != 226 {
		t.Error(code)
	}
}

// babble is one session of random lines. It ends with NOOP lines, whose replies show that none was lost and none too many.
func (h *house) babble(r *rand.Rand, verbs []string) {
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		h.t.Error(err)
		return
	}
	defer conn.Close()
	p := &peer{t: h.t, raw: conn.(*net.TCPConn), conn: conn, br: bufio.NewReader(conn)}
	said := []string{"USER ann@example.test", "PASS secret"}
	for _, line := range said {
		p.send("%s", line)
	}
	for range 3 {
		if _, text, err := p.tryReply(); err != nil || !replyLine.MatchString(text) {
			h.t.Errorf("login: %v %q", err, text)
			return
		}
	}
	for range 60 {
		line := verbs[r.IntN(len(verbs))]
		if r.IntN(8) > 0 {
			line += " " + babbleWord(r)
		}
		if r.IntN(3) == 0 {
			line = []string{"EPSV", "PASV", "EPRT |1|127.0.0.1|9|", "CWD /", "TYPE I", "REST 3", "RNFR f0", "RANG 1 3"}[r.IntN(8)]
		}
		said = append(said, line)
		p.send("%s", line)
		code, text, err := p.tryReply()
		if code == 150 || code == 125 {
			for l := range strings.Lines(text) {
				if !replyLine.MatchString(l) {
					h.t.Errorf("%q: %q", line, l)
				}
			}
			code, text, err = p.tryReply()
		}
		if err != nil {
			if code == 421 || strings.HasPrefix(text, "421") {
				return
			}
			h.t.Errorf("after %q: %v %q", said[max(0, len(said)-5):], err, text)
			return
		}
		for l := range strings.Lines(text) {
			if !replyLine.MatchString(l) {
				h.t.Errorf("%q: %q", line, l)
			}
		}
		if code == 421 || code == 221 {
			return
		}
		if code == 451 || code < 200 || code > 559 {
			h.t.Errorf("after %q: %q", said[max(0, len(said)-5):], text)
		}
	}
	for i := range 5 {
		p.send("NOOP %d", i)
		if code, text, err := p.tryReply(); code != 200 {
			h.t.Errorf("a reply too many or too few, after %q: %q %v", said[max(0, len(said)-6):], text, err)
			return
		}
	}
}

// babbleWord is an argument that some command has a use for, or none has.
func babbleWord(r *rand.Rand) string {
	words := []string{
		"f0", "f1", "/d", "/d/e", "..", "/", ".", "*", "f*", "/Mail", "/Mail/INBOX", "/Mail/INBOX/*", "/Mail/New", "/Mail/INBOX/x.eml", "/Mail/INBOX/2026-01-01 0000 one (1).eml", "-la", "-R /", "-d", "--", "\"f0\"", "\"f0\" 0 3", "f0 1 2",
		"0", "1", "7", "99999999999", "-1", "1 3", "3 1", "I", "A", "A N", "L 8", "E", "P", "C", "S", "F", "ALL", "1", "2", "UTF8 ON", "UTF8", "MLST type;size;", "MLST", "HASH MD5", "HASH SHA-512", "HASH",
		"CHMOD 644 f0", "CHMOD 4755 /d", "CHMOD x", "UTIME 20200101000000 f0", "UTIME f0 20200101000000 20200101000000 20200101000000 UTC", "HELP", "QUOTA", "RESUME", "UMASK 022", "IDLE 100", "20200229123456 f0", "20200230000000 f0", "19691231235959 f0",
		"modify=20200101000000; f0", "UNIX.mode=0600; f0", "modify=1;UNIX.mode=9;x=y; f0", "127,0,0,1,200,1", "|1|127.0.0.1|2049|", "ann@example.test", "example.test", "[127.0.0.1]", "en", "EN-us", "*", "é", "a b", " f0", "f0 ", "10 R 5", "STOR",
	}
	if r.IntN(20) == 0 {
		return strings.Repeat(words[r.IntN(len(words))]+" ", 1+r.IntN(100))
	}
	return words[r.IntN(len(words))]
}
