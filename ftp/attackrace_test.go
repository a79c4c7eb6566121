package ftp

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/storage/vfs"
)

// TestQuotaRace: of 30 uploads at the same time exactly as many succeed as there is room for, and at no time is there more than that.
func TestQuotaRace(t *testing.T) {
	for _, size := range []int{1_000, 40_000, 3_000_000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const tries, room = 30, 10
			h := newHouse(t)
			h.quota(int64(size*room + size/2))
			data := noise(size)
			type one struct {
				p    *peer
				conn net.Conn
				code int
			}
			all := make([]one, tries)
			for i := range all {
				p := h.login()
				conn := p.open("STOR f%d", i)
				all[i] = one{p, conn, 0}
			}
			var wg, half sync.WaitGroup
			half.Add(tries)
			for i := range all {
				wg.Go(func() {
					a := &all[i]
					io.WriteString(a.conn, data[:size/2])
					half.Done()
					half.Wait() // all are under way
					io.WriteString(a.conn, data[size/2:])
					a.conn.Close()
					a.code, _, _ = a.p.tryReply()
				})
			}
			over := make(chan struct{})
			watched := make(chan int64)
			go func() {
				most := int64(0)
				for {
					if u, _, err := h.fs.Tree(h.ann).Usage(context.Background()); err == nil {
						most = max(most, u)
					}
					select {
					case <-over:
						watched <- most
						return
					default:
					}
				}
			}()
			wg.Wait()
			close(over)
			done := 0
			for i, a := range all {
				got, there := h.get(fmt.Sprintf("/f%d", i))
				switch {
				case a.code == 226 && got == data:
					done++
				case (a.code == 552 || a.code == 426) && !there:
				default:
					t.Errorf("f%d: %d, %d bytes, %v", i, a.code, len(got), there)
				}
			}
			if done != room {
				t.Errorf("%d of %d uploads succeeded where there is room for %d", done, tries, room)
			}
			if most := <-watched; most > int64(size*room+size/2) {
				t.Errorf("%d bytes were stored, the quota is %d", most, size*room+size/2)
			}
		})
	}
}

// TestUploadRaces: uploads of one name beside each other, and beside what deletes, renames and replaces it and its folder, each end whole or not at all.
func TestUploadRaces(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	p.cmd(257, "MKD /d")
	whole := []string{noise(3_000), noise(50_000), noise(200_000), ""}
	var wg sync.WaitGroup
	const rounds = 15
	for i := range 3 { // two STORs and an APPE at a time
		wg.Go(func() {
			p := h.login()
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds {
				line := []string{"STOR /d/x", "STOR /d/y", "STOU /d/x"}[r.IntN(3)]
				addr := p.epsv()
				conn, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				code, text := p.reply2(line)
				if code == 150 {
					io.WriteString(conn, whole[r.IntN(3)])
					conn.Close()
					code, text = p.reply()
				}
				conn.Close()
				if !slices.Contains([]int{226, 450, 451, 550, 553}, code) {
					t.Errorf("%s: %s", line, text)
				}
			}
		})
	}
	for i := range 2 {
		wg.Go(func() {
			p := h.login()
			r := rand.New(rand.NewPCG(2, uint64(i)))
			for range rounds * 4 {
				for _, line := range [][]string{{"DELE /d/x"}, {"RNFR /d/x", "RNTO /d/y"}, {"RNFR /d", "RNTO /e"}, {"RMD /d"}, {"MKD /d"}, {"RNFR /e", "RNTO /d"}, {"SITE CHMOD 600 /d/x"}, {"MFMT 20200101000000 /d/y"}, {"DELE /e/y"}, {"RMD /e"}}[r.IntN(10)] {
					code, text := p.reply2(line)
					if code/100 == 4 && code != 450 || code == 500 {
						t.Errorf("%s: %s", line, text)
					}
				}
			}
		})
	}
	wg.Wait()
	sum := int64(0)
	walk(t, h.fs.Tree(h.ann), "/", func(p string, i vfs.Info) {
		if i.IsDir() || strings.HasPrefix(p, "/Mail") {
			return
		}
		sum += i.Size()
		if got, ok := h.get(p); !ok || !slices.Contains(whole, got) {
			t.Errorf("%s: %d bytes that nobody sent", p, len(got))
		}
	})
	if used, _, err := h.fs.Tree(h.ann).Usage(t.Context()); err != nil || used != sum {
		t.Errorf("the account is charged %d bytes for %d: %v", used, sum, err)
	}
}

// TestMailRaces: messages go into a mailbox by FTP and are taken out, while IMAP appends, flags, expunges, renames and deletes it.
func TestMailRaces(t *testing.T) {
	h := newHouse(t)
	imap := h.imap()
	setup := h.mail(imap)
	setup.ok("LOGIN ann@example.test secret")
	setup.ok("CREATE Box")
	message := func(n int) string {
		return fmt.Sprintf("From: a@example.test\r\nSubject: race %d\r\nDate: Mon, 1 Jun 2026 10:00:00 +0000\r\n\r\n%s\r\n", n, strings.Repeat("text ", n%7*2000))
	}
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			p := h.login()
			for n := range 12 {
				addr := p.epsv()
				conn, err := net.Dial("tcp", addr.String())
				if err != nil {
					t.Error(err)
					return
				}
				code, text := p.reply2(fmt.Sprintf("STOR /Mail/%s/m%d-%d.eml", []string{"Box", "INBOX", "Moved"}[n%3], i, n))
				if code == 150 {
					io.WriteString(conn, message(n))
					conn.Close()
					code, text = p.reply()
				}
				conn.Close()
				if !slices.Contains([]int{226, 450, 451, 550, 553}, code) {
					t.Errorf("STOR: %s", text)
				}
			}
		})
	}
	wg.Go(func() { // reads and deletes by FTP what is listed
		p := h.login()
		for range 10 {
			for _, box := range []string{"/Mail/Box", "/Mail/INBOX"} {
				conn, err := net.Dial("tcp", p.epsv().String())
				if err != nil {
					t.Error(err)
					return
				}
				code, _ := p.reply2("NLST " + box)
				var list []byte
				if code == 150 {
					list, _ = io.ReadAll(conn)
					p.reply()
				}
				conn.Close()
				for name := range strings.Lines(string(list)) {
					if code, text := p.reply2("DELE " + strings.TrimSpace(name)); code != 250 && code != 550 && code != 450 {
						t.Errorf("DELE %s: %s", name, text)
					}
					break
				}
			}
		}
	})
	for i := range 2 {
		wg.Go(func() {
			m := h.mail(imap)
			m.ok("LOGIN ann@example.test secret")
			for n := range 25 {
				for _, c := range [][]string{{"SELECT Box"}, {"STORE 1:* +FLAGS (\\Deleted)"}, {"EXPUNGE"}, {"APPEND Box", message(n)}, {"RENAME Box Moved"}, {"RENAME Moved Box"}, {"SELECT INBOX"}, {"STORE 1 +FLAGS.SILENT (\\Deleted)"}, {"EXPUNGE"}, {"DELETE Moved"}, {"CREATE Box"}}[(n+5*i)%11:] {
					all, answer, err := m.try(c[0], c[1:]...)
					if strings.Contains(all, "* BYE Selected mailbox was deleted") {
						m = h.mail(imap)
						m.ok("LOGIN ann@example.test secret")
						continue
					}
					if err != nil {
						t.Errorf("%s: %v %q", c[0], err, all)
						return
					}
					if strings.Contains(answer, "SERVERBUG") || strings.Contains(strings.ToLower(answer), "internal") {
						t.Errorf("%s: %s", c[0], answer)
					}
				}
			}
		})
	}
	wg.Wait()
	// Both see the same mail, and the account is charged for it.
	sum := int64(0)
	walk(t, h.fs.Tree(h.ann), "/Mail", func(p string, i vfs.Info) {
		if i.IsDir() {
			return
		}
		sum += i.Size()
		if got, ok := h.get(p); !ok || int64(len(got)) != i.Size() || !strings.Contains(got, "Subject: race ") {
			t.Errorf("%s: %d bytes of %d", p, len(got), i.Size())
		}
	})
	if used, _, err := h.fs.Tree(h.ann).Usage(t.Context()); err != nil || used != sum {
		t.Errorf("the account is charged %d bytes for %d: %v", used, sum, err)
	}
}
