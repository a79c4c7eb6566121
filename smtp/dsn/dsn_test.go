package dsn

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"strings"
	"testing"
	"time"

	moxdsn "github.com/mjl-/mox/dsn"
	"github.com/mjl-/mox/message"
)

func TestWanted(t *testing.T) {
	for _, c := range []struct {
		from, notify string
		want         string // of failed, delayed, delivered, relayed, expanded
	}{
		{"a@b.test", "", "yynnn"},
		{"a@b.test", "NEVER", "nnnnn"},
		{"a@b.test", "FAILURE", "ynnnn"},
		{"a@b.test", "DELAY", "nynnn"},
		{"a@b.test", "SUCCESS", "nnyyy"},
		{"a@b.test", "success,Failure,DELAY", "yyyyy"},
		{"", "", "nnnnn"},
		{"", "SUCCESS,FAILURE,DELAY", "nnnnn"},
	} {
		got := ""
		for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
			if Wanted(c.from, c.notify, a) {
				got += "y"
			} else {
				got += "n"
			}
		}
		if got != c.want {
			t.Errorf("from %q notify %q: %s, want %s", c.from, c.notify, got, c.want)
		}
	}
	if Wanted("a@b.test", "", "guessed") {
		t.Error("an action that is none")
	}
}

var (
	came = time.Date(2024, 2, 29, 13, 0, 0, 0, time.UTC)
	now  = came.Add(time.Hour)
)

// notice is a Message about a message with that text.
func notice(original string) *Message {
	return &Message{Reporter: "mail.example.test", To: "ann@example.test", Now: now, Queue: "01Q", EnvelopeID: "env=1", Arrival: came,
		Original: strings.NewReader(original), Size: int64(len(original)),
		Recipients: []Recipient{{Address: "joe@far.test", Original: "rfc822;Joe@far.test", Action: Failed, Status: "5.1.1", Remote: "mx.far.test (192.0.2.1)",
			Reply: "550 5.1.1 <joe@far.test>: nobody\r\nof that name", LastAttempt: now, WillRetryUntil: now}}}
}

// compose writes a notice and checks what holds for each.
func compose(t testing.TB, m *Message) (Info, string) {
	t.Helper()
	var b bytes.Buffer
	info, err := Compose(&b, m)
	if err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\n") || strings.Contains(strings.ReplaceAll(text, "\r\n", ""), "\r") {
		t.Errorf("bare line ends: %q", text)
	}
	for l := range strings.Lines(text) {
		if len(l) > 1000 {
			t.Errorf("a line of %d bytes", len(l))
		}
	}
	if !info.EightBit && !ascii(text) {
		t.Errorf("8-bit bytes: %q", text)
	}
	return info, text
}

// parsed reads it back with somebody else's parser.
func parsed(t testing.TB, text string) (*moxdsn.Message, *message.Part) {
	t.Helper()
	m, p, err := moxdsn.Parse(slog.New(slog.DiscardHandler), strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return m, p
}

func TestFailed(t *testing.T) {
	const original = "From: ann@example.test\r\nMessage-ID: <1@example.test>\r\nSubject: x\r\n\r\nbody\r\n--dots\r\n"
	info, text := compose(t, notice(original))
	if info != (Info{}) {
		t.Errorf("%+v", info)
	}
	for _, want := range []string{"Auto-Submitted: auto-replied\r\n", "From: Mail Delivery System <MAILER-DAEMON@mail.example.test>\r\n", "References: <1@example.test>\r\n",
		"report-type=delivery-status", "There is no such address.", "mx.far.test (192.0.2.1) said:\r\n", "Content-Type: message/rfc822\r\n", original,
		"Original-Recipient: rfc822; Joe@far.test\r\nFinal-Recipient: rfc822; joe@far.test\r\nAction: failed\r\nStatus: 5.1.1\r\nRemote-MTA: dns; mx.far.test (192.0.2.1)\r\n" +
			"Diagnostic-Code: smtp; 550 5.1.1 <joe@far.test>: nobody of that name\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Will-Retry-Until") {
		t.Error("what failed is not retried")
	}
	m, p := parsed(t, text)
	r := m.Recipients[0]
	if m.OriginalEnvelopeID != "env=1" || m.ReportingMTA != "mail.example.test" || !m.ArrivalDate.Equal(came) || len(m.Recipients) != 1 || r.Action != moxdsn.Failed || r.Status != "5.1.1" ||
		r.FinalRecipient.String() != "joe@far.test" || r.OriginalRecipient.String() != "Joe@far.test" || r.RemoteMTA.Name != "dns; mx.far.test (192.0.2.1)" || !r.LastAttemptDate.Equal(now) || r.FinalLogID != "01Q" || len(p.Parts) != 3 {
		t.Errorf("%+v", m)
	}
}

// Which part of the message goes back, and how (RFC 3461 section 4.3, RFC 6522, RFC 6533 section 4).
func TestReturned(t *testing.T) {
	plain, eight, wide := "Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n\r\nb\xc3\xb6dy\r\n", "Subject: \u00fc\r\n\r\nbody\r\n"
	big := "Subject: x\r\n\r\n" + strings.Repeat("body\r\n", 20_000)
	for _, c := range []struct {
		original, ret string
		action        Action
		utf8, eight   bool
		kind          string
		info          Info
	}{
		{plain, "", Failed, false, false, "message/rfc822", Info{}},
		{plain, "FULL", Failed, false, false, "message/rfc822", Info{}},
		{plain, "HDRS", Failed, false, false, "text/rfc822-headers", Info{}},
		{plain, "FULL", Delayed, false, false, "text/rfc822-headers", Info{}},
		{plain, "FULL", Delivered, false, false, "text/rfc822-headers", Info{}},
		{big, "FULL", Failed, false, false, "text/rfc822-headers", Info{}},
		{eight, "FULL", Failed, false, false, "text/rfc822-headers", Info{}},
		{eight, "FULL", Failed, false, true, "message/rfc822", Info{EightBit: true}},
		{wide, "FULL", Failed, true, false, "message/global", Info{}},
		{wide, "HDRS", Failed, true, false, "message/global-headers", Info{}},
		{wide, "FULL", Failed, false, false, "text/rfc822-headers", Info{}},
		{wide, "FULL", Failed, false, true, "message/rfc822", Info{EightBit: true}},
		{"\r\nbody", "HDRS", Failed, false, false, "text/rfc822-headers", Info{}},
		{"Subject: " + strings.Repeat("x", 2000) + "\r\n\r\n", "FULL", Failed, false, true, "text/rfc822-headers", Info{}},
	} {
		m := notice(c.original)
		m.Return, m.UTF8, m.EightBit, m.Recipients[0].Action = c.ret, c.utf8, c.eight, c.action
		info, text := compose(t, m)
		_, p := parsed(t, text)
		third := &p.Parts[2]
		if kind := strings.ToLower(third.MediaType + "/" + third.MediaSubType); kind != c.kind || info != c.info {
			t.Errorf("%q RET=%s %s: %s %+v, want %s", c.original[:10], c.ret, c.action, kind, info, c.kind)
		}
		got, err := io.ReadAll(third.Reader())
		if err != nil {
			t.Error(err)
		}
		want := c.original
		if strings.HasSuffix(c.kind, "headers") {
			head, _, _ := strings.Cut(want, "\r\n\r\n")
			want = head + "\r\n"
			if strings.HasPrefix(c.original, "\r\n") {
				want = ""
			}
		}
		if string(got) != want {
			t.Errorf("%q RET=%s: returned %q", c.original[:10], c.ret, got)
		}
	}
}

// Addresses beyond ASCII (RFC 6533 section 3).
func TestUTF8(t *testing.T) {
	m := notice("Subject: x\r\n\r\n")
	m.Recipients[0].Address, m.Recipients[0].Original, m.Recipients[0].Reply = "j\u00f6e@far.test", `utf-8;J\x{F6}e@far.test`, "550 5.1.1 n\u00f6"
	m.UTF8 = true
	_, text := compose(t, m)
	if !strings.Contains(text, "message/global-delivery-status") {
		t.Error(text)
	}
	r, p := parsed(t, text)
	status, err := io.ReadAll(p.Parts[1].Reader())
	if err != nil || r.Recipients[0].FinalRecipient.Localpart != "j\u00f6e" {
		t.Errorf("%+v %v", r.Recipients[0], err)
	}
	for _, want := range []string{"Original-Recipient: utf-8; J\u00f6e@far.test\r\n", "Final-Recipient: utf-8; j\u00f6e@far.test\r\n", "Diagnostic-Code: smtp; 550 5.1.1 n\u00f6\r\n"} {
		if !strings.Contains(string(status), want) {
			t.Errorf("no %q in %s", want, status)
		}
	}
	m.UTF8 = false
	_, text = compose(t, m)
	for _, want := range []string{"message/delivery-status", `Original-Recipient: utf-8; J\x{F6}e@far.test`, `Final-Recipient: utf-8; j\x{F6}e@far.test`, "Diagnostic-Code: smtp; 550 5.1.1 n?\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	m.To = "\u00e4nn@example.test"
	if info, text := compose(t, m); !info.UTF8 || !info.EightBit || !strings.Contains(text, "To: <\u00e4nn@example.test>\r\n") {
		t.Error(info, text)
	}
	if s := unitext("a+b\\\U0001F600"); s != `a\x{2B}b\x{5C}\x{1F600}` || fromUnitext(s) != "a+b\\\U0001F600" || fromUnitext(`\x{zz}`) != `\x{zz}` || fromUnitext(`\x{41`) != `\x{41` || fromUnitext(`\x{0A}`) != `\x{0A}` {
		t.Error(s)
	}
}

func TestKinds(t *testing.T) {
	m := notice("Subject: x\r\n\r\n")
	m.Recipients = []Recipient{
		{Address: "a@far.test", Action: Delayed, WillRetryUntil: now.Add(time.Hour), LastAttempt: now},
		{Address: "b@far.test", Action: Relayed, Remote: "mx", Reply: "250 ok"},
		{Address: "c@far.test", Action: Delivered, Status: "bogus"},
		{Address: "d@far.test", Action: Expanded, Status: "2.1.5"},
	}
	_, text := compose(t, m)
	r, _ := parsed(t, text)
	if len(r.Recipients) != 4 || r.Recipients[0].Status != "4.0.0" || r.Recipients[1].Status != "2.0.0" || r.Recipients[2].Status != "2.0.0" || r.Recipients[3].Status != "2.1.5" ||
		r.Recipients[0].WillRetryUntil == nil || r.Subject != subjects[Delayed] {
		t.Errorf("%+v", r)
	}
	m.Recipients[0].Why = "No server answered."
	_, text = compose(t, m)
	for _, want := range []string{"Diagnostic-Code: X-Packetboat; No server answered.\r\n", "    No server answered.\r\n", "It is tried until Thursday, 29 February 2024", "does not confirm"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if _, err := Compose(io.Discard, &Message{}); !errors.Is(err, errRecipients) {
		t.Error(err)
	}
	m.Original, m.Size = strings.NewReader("short"), 100
	if _, err := Compose(io.Discard, m); err == nil {
		t.Error("a message that cannot be read was returned")
	}
}

// Another reader, of another language.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Log("there is no python3 here")
		return
	}
	m := notice("Subject: \u00fc\r\n\r\nbody\r\n")
	m.UTF8, m.Return = true, "FULL"
	m.Recipients = append(m.Recipients, Recipient{Address: "\u00fc@far.test", Action: Failed, Why: strings.Repeat("why ", 100)})
	_, text := compose(t, m)
	cmd := exec.Command(python, "-c", `import sys, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP)
assert m.get_content_type() == 'multipart/report' and m.get_param('report-type') == 'delivery-status'
parts = m.get_payload()
assert len(parts) == 3, parts
assert not any(p.defects for p in parts) and not m.defects, [p.defects for p in parts]
print(parts[0].get_content())
print([p.get_content_type() for p in parts])`)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "'message/global-delivery-status', 'message/global'") || !strings.Contains(string(out), "There is no such address.") {
		t.Errorf("%v\n%s", err, out)
	}
}

// FuzzCompose: whatever peers said, the notice is well-formed.
func FuzzCompose(f *testing.F) {
	f.Add("joe@far.test", "rfc822;x", "5.1.1", "mx (1)", "550 no", "env", "Subject: x\r\n\r\nbody\r\n", true)
	f.Add("\u00fc@far.test", "utf-8;\\x{FC}", "9", "\r\n", "\x00\xff", "\n", "\x80\r\n", false)
	f.Fuzz(func(t *testing.T, address, orcpt, status, remote, reply, env, original string, utf8 bool) {
		m := notice(strings.ReplaceAll(strings.ReplaceAll(original, "\r", ""), "\n", "\r\n"))
		m.UTF8, m.EnvelopeID = utf8, env
		m.Recipients[0] = Recipient{Address: address, Original: orcpt, Status: status, Remote: remote, Reply: reply, Why: reply, Action: Failed}
		_, text := compose(t, m)
		_, err := message.Parse(slog.New(slog.DiscardHandler), false, strings.NewReader(text))
		if err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
		if n := strings.Count(text, "\r\nAction: failed\r\n"); n != 1 && !strings.Contains(original, "Action:") {
			t.Errorf("%d actions in\n%s", n, text)
		}
	})
}
