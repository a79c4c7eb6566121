package smtp_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/smtp"
)

// endings are what some servers take for the end of a message.
var endings = []struct{ text, reply string }{
	{"\n.\n", "bare LF"},
	{"\n.\r\n", "bare LF"},
	{"\r\n.\n", "bare LF"},
	{"\r.\r", "bare CR"},
	{"\r.\r\n", "bare CR"},
	{"\r\n.\r", "bare CR"},
	{"\r\n\x00.\r\n", "NUL"},
	{"\r\n.\x00\r\n", "NUL"},
	{"\r\n..\r\n", ""},
	{"\r.\n", "bare CR"},
	{"\n.\r", "bare LF"},
	{"\r\n.\r\r\n", "bare CR"},
	{"\r\r\n.\n", "bare CR"},
}

// talk sends all of a conversation and gives what came back until the server closed.
func talk(t *testing.T, addr, text string, pieces int) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	for i := range pieces {
		if _, err := io.WriteString(c, text[len(text)*i/pieces:len(text)*(i+1)/pieces]); err != nil {
			t.Fatal(err)
		}
	}
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

const envelope = "EHLO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<ann@example.test>\r\n"

// No ending but CRLF "." CRLF ends a message: the second message, which the first hides, never arises, in either policy.
func TestSmuggling(t *testing.T) {
	hidden := "MAIL FROM:<admin@example.test>\r\nRCPT TO:<joe@example.test>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"
	for _, policy := range []smtp.BareNewline{smtp.Reject, smtp.Normalize} {
		h := open(t, smtp.Options{BareNewline: policy}, auth.PlaintextNever)
		for i, e := range endings {
			for _, pieces := range []int{1, 7, 200} {
				t.Run(fmt.Sprintf("%s/%q/%d", policy, e.text, pieces), func(t *testing.T) {
					before := len(h.inbox(t, "ann"))
					said := talk(t, h.mx, envelope+"DATA\r\nSubject: "+fmt.Sprint(i)+"\r\n\r\nfirst"+e.text+hidden+"QUIT\r\n", pieces)
					if n := len(h.inbox(t, "joe")); n != 0 {
						t.Fatalf("a second message arose:\n%s", said)
					}
					taken := e.reply == "" || policy == smtp.Normalize
					if got := len(h.inbox(t, "ann")) - before; (got == 1) != taken {
						t.Errorf("%d messages were delivered:\n%s", got, said)
					}
					if taken != strings.Contains(said, "250 2.0.0 delivered") || !taken && !strings.Contains(said, "550 5.6.0 message has a "+e.reply) {
						t.Errorf("replies:\n%s", said)
					}
					if strings.Count(said, "354 ") != 1 || !strings.HasSuffix(said, "221 2.0.0 Bye\r\n") {
						t.Errorf("replies:\n%s", said)
					}
				})
			}
		}
	}
}

// The same within BDAT and within the envelope.
func TestBareElsewhere(t *testing.T) {
	h := open(t, smtp.Options{}, auth.PlaintextNever)
	for _, test := range []struct{ text, reply string }{
		{envelope + "BDAT 4 LAST\r\na\nb\nQUIT\r\n", "550 5.6.0 message has a bare LF"},
		{envelope + "BDAT 4 LAST\r\na\rb\nQUIT\r\n", "550 5.6.0 message has a bare CR"},
		{envelope + "BDAT 4 LAST\r\nab\r\rQUIT\r\n", "550 5.6.0 message has a bare CR"},
		{envelope + "BDAT 4 LAST\r\nabc\rQUIT\r\n", "550 5.6.0 message has a bare CR"},
		{envelope + "BDAT 3 LAST\r\na\x00bQUIT\r\n", "550 5.6.0 message has a NUL"},
		{"HELO x\nQUIT\r\n", "500 5.5.2 line ends with a bare LF"},
		{"HELO x\rNOOP\r\nQUIT\r\n", "500 5.5.2 bare CR or NUL"},
		{"NOOP \x00\r\nQUIT\r\n", "500 5.5.2 bare CR or NUL"},
	} {
		if said := talk(t, h.mx, test.text, 1); !strings.Contains(said, test.reply) || !strings.HasSuffix(said, "221 2.0.0 Bye\r\n") {
			t.Errorf("%q:\n%s", test.text, said)
		}
	}
	if n := len(h.inbox(t, "ann")); n != 0 {
		t.Errorf("%d messages", n)
	}
}
