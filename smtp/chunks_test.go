package smtp_test

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/smtp"
)

// What some servers take for the end of a message is text within a chunk, or no text at all; a second message never arises, and in
// LMTP as in SMTP.
func TestSmugglingInChunks(t *testing.T) {
	hidden := "MAIL FROM:<admin@example.test>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"
	for _, policy := range []smtp.BareNewline{smtp.Reject, smtp.Normalize} {
		h := open(t, smtp.Options{BareNewline: policy}, auth.PlaintextNever)
		for _, end := range append(slices.Clone(endings), struct{ text, reply string }{"\r\n.\r\n", ""}) {
			for _, command := range []string{"EHLO", "LHLO"} {
				for _, pieces := range []int{1, 50} {
					t.Run(fmt.Sprintf("%s/%q/%s/%d", policy, end.text, command, pieces), func(t *testing.T) {
						addr, inbox := h.mx, h.inbox(t, "ann")
						if command == "LHLO" {
							addr = h.lmtp
						}
						body := "Subject: x\r\n\r\nfirst" + end.text + hidden
						said := talk(t, addr, fmt.Sprintf("%s x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ann@example.test>\r\nBDAT %d LAST\r\n%sQUIT\r\n", command, len(body), body), pieces)
						taken := end.reply == "" || policy == smtp.Normalize && command == "EHLO"
						if len(h.inbox(t, "joe")) != 0 || (len(h.inbox(t, "ann")) == len(inbox)+1) != taken || strings.Contains(said, "354 ") ||
							!taken && !strings.Contains(said, "550 5.6.0 message has a "+end.reply) || !strings.HasSuffix(said, "221 2.0.0 Bye\r\n") {
							t.Errorf("%d messages:\n%s", len(h.inbox(t, "ann")), said)
						}
						if all := h.inbox(t, "ann"); end.reply == "" && !strings.HasSuffix(all[len(all)-1], body) {
							t.Errorf("%q", all[len(all)-1])
						}
					})
				}
			}
		}
	}
}

// RFC 3030 section 2: a chunk may end anywhere, and be empty.
func TestChunksAnywhere(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	body := "Subject: x\r\n\r\n.\r\n..\r\n\r\n"
	c, err := net.Dial("tcp", h.mx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	done := make(chan string)
	go func() {
		all, _ := io.ReadAll(c)
		done <- string(all)
	}()
	fmt.Fprint(c, "EHLO x\r\n")
	n := 0
	for i := range len(body) + 1 {
		for j := i; j <= len(body); j += 3 {
			fmt.Fprintf(c, "MAIL FROM:<>\r\nRCPT TO:<ann@example.test>\r\nBDAT %d\r\n%sBDAT 0\r\nNOOP\r\nBDAT %d\r\n%s", i, body[:i], j-i, body[i:j])
			if j == len(body) {
				fmt.Fprint(c, "BDAT 0 LAST\r\n")
			} else {
				fmt.Fprintf(c, "BDAT %d LAST\r\n%s", len(body)-j, body[j:])
			}
			n++
		}
	}
	fmt.Fprint(c, "QUIT\r\n")
	said := <-done
	if got := strings.Count(said, "250 2.0.0 delivered"); got != n || strings.Contains(said, "\r\n5") {
		t.Errorf("%d of %d:\n%s", got, n, said)
	}
	for _, text := range h.inbox(t, "ann") {
		if !strings.HasSuffix(text, "\r\n"+body) {
			t.Fatalf("%q", text)
		}
	}
}

// A chunk that is refused in its middle is read to its end, whatever its size, and what follows are commands again.
func TestChunkErrorsAreDrained(t *testing.T) {
	h := open(t, smtp.Options{MaxMessage: 300_000}, auth.PlaintextNever)
	for _, size := range []int{1, 2, 4095, 4096, 4097, 65535, 65536, 65537, 300_001, 500_000} {
		for at := range 3 {
			body := []byte(strings.Repeat("0123456789abcdef\r\n", size/18+1)[:size])
			body[at*(size-1)/2] = 0
			text := fmt.Sprintf("%sBDAT %d\r\n%sBDAT 3 LAST\r\nabcNOOP\r\nQUIT\r\n", envelope, size, body)
			said := talk(t, h.mx, text, 3)
			if !strings.Contains(said, "\r\n55") || !strings.HasSuffix(said, "503 5.5.1 send MAIL first\r\n250 2.0.0 ok\r\n221 2.0.0 Bye\r\n") {
				t.Errorf("%d, %d:\n%s", size, at, said)
			}
		}
	}
	if n := len(h.inbox(t, "ann")); n != 0 {
		t.Errorf("%d messages", n)
	}
}
