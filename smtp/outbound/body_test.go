package outbound

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"strings"
	"testing"

	moxdns "github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

// stored is a storage.Body of a text.
type stored struct{ *bytes.Reader }

func (stored) Close() error                                          { return nil }
func (s stored) WriteRange(w io.Writer, off, n int64) (int64, error) { panic("not used") }
func (s stored) Size() int64                                         { return s.Reader.Size() }

func text(s string) storage.Body { return stored{bytes.NewReader([]byte(s))} }

// whole is what an original sends.
func whole(t testing.TB, m *original) string {
	t.Helper()
	b, err := m.body.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Lines leave with CRLF, whatever is stored, and hold no CR, LF or NUL; long messages as short ones.
func TestLines(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"A: b\r\n\r\nx\r\n", "A: b\r\n\r\nx\r\n"},
		{"A: b\n\nx\n", "A: b\r\n\r\nx\r\n"},
		{"A: b\r\n\r\nx", "A: b\r\n\r\nx\r\n"},
		{"A: b\r\n\r\nx\r", "A: b\r\n\r\nx\r\n"},
		{"A: b\r\n\r\nx\ry\r\n", "A: b\r\n\r\nx\r\ny\r\n"},
		{"A: b\r\n\r\nx\n.\ny\r\r\n", "A: b\r\n\r\nx\r\n.\r\ny\r\n\r\n"},
		{"A: b\r\n\r\n\x00.\r\n", "A: b\r\n\r\n.\r\n"},
		{"", ""},
	} {
		for _, pad := range []int{0, maxInMemory} {
			p := strings.Repeat("0123456789abcde\r\n", pad/17+1)
			if pad == 0 {
				p = ""
			}
			m, err := openOriginal(text(p + c.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := whole(t, m); got != p+c.want {
				t.Errorf("%q: %q, want %q", c.in, got[len(p):], c.want)
			}
			if !m.clean {
				t.Errorf("%q is not clean afterwards", c.in)
			}
			m.close()
		}
	}
}

// The eight ways to end a message too early (CVE-2023-51764 and its kin): none of them leaves, by DATA or BDAT, in one piece or split between blocks.
func TestSmuggling(t *testing.T) {
	const inner = "MAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx"
	for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n.\r\n", "\n.\r", "\r.\n"} {
		for _, pad := range []int{0, blockSize - 3, blockSize - 2, blockSize - 1, blockSize, 4 * blockSize, 5*blockSize - 1} {
			for _, ext := range [][]string{usual, append(usual[:len(usual):len(usual)], "CHUNKING")} {
				if pad > 0 && len(ext) > len(usual) {
					continue
				}
				head := "Subject: a\r\n\r\n"
				m, err := openOriginal(text(head + strings.Repeat("x", pad) + end + inner + end))
				if err != nil {
					t.Fatal(err)
				}
				s := stuffer{}
				for off := int64(0); off < m.body.size; {
					b, n, err := m.body.block(off)
					if err != nil {
						t.Fatal(err)
					}
					s.add(b)
					off += n
				}
				out := string(s.out) + ".\r\n"
				if i := strings.Index(out, "\r\n.\r\n"); i != len(out)-5 {
					t.Errorf("%q after %d: the message ends at %d of %d", end, pad, i, len(out))
				}
				bare := strings.ReplaceAll(out, "\r\n", "")
				if strings.ContainsAny(bare, "\r\n\x00") {
					t.Errorf("%q after %d: a bare CR, LF or a NUL leaves", end, pad)
				}
				m.close()
			}
		}
	}
}

// The same over the wire: one message arrives.
func TestSmugglingWire(t *testing.T) {
	for _, ext := range [][]string{usual, append(usual[:len(usual):len(usual)], "CHUNKING")} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = ext })
		h := build(t, func(o *Options, r *moxdns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
		})
		n := 0
		for _, end := range []string{"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r", "\r\n\x00.\r\n", "\r\n.\r\n"} {
			u, err := h.store.NewMail(t.Context(), 0, -1)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(u, "Subject: a\r\n\r\nx%sMAIL FROM:<evil@example.org>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nSubject: smuggled\r\n\r\nx%s", end, end)
			if _, err := h.store.Enqueue(t.Context(), u, []storage.Outgoing{{Recipients: []storage.OutgoingRecipient{{Address: "joe@example.org"}}}}, nil); err != nil {
				t.Fatal(err)
			}
			n++
		}
		h.empty()
		if all := f.all(); len(all) != n || strings.Contains(f.said(), "evil") {
			t.Errorf("%d messages of %d: %s", len(all), n, f.said())
		}
	}
}

// parts are the decoded leaves of a message.
func parts(t *testing.T, r io.Reader, kind, encoding string) (all []string) {
	t.Helper()
	mt, params, _ := mime.ParseMediaType(kind)
	switch {
	case strings.HasPrefix(mt, "multipart/"):
		mr := multipart.NewReader(r, params["boundary"])
		for {
			p, err := mr.NextRawPart()
			if err == io.EOF {
				return all
			}
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parts(t, p, p.Header.Get("Content-Type"), p.Header.Get("Content-Transfer-Encoding"))...)
		}
	case mt == "message/rfc822":
		m, err := netmail.ReadMessage(r)
		if err != nil {
			t.Fatal(err)
		}
		return parts(t, m.Body, m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"))
	}
	switch encoding {
	case "quoted-printable":
		r = quotedprintable.NewReader(r)
	case "base64":
		r = base64Reader(r)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return []string{mt + ": " + string(b)}
}

// What a server of 7 bits gets is 7-bit and says the same.
func TestRecode(t *testing.T) {
	eight := "Grüße\r\n" + "trailing blank \r\n.dot\r\n"
	multi := "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\npre\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + eight +
		"--b\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\xff\xfe\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n" +
		"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<b>ü</b>\r\n" +
		"--b--\r\nepilogue\r\n"
	signed := "Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n" + eight + "--s--\r\n"
	long := strings.Repeat("0123456789", 150)
	for _, c := range []struct {
		in          string
		seven, long bool
		fixed       bool
		same        bool
	}{
		{"Subject: x\r\n\r\n" + eight, true, false, false, false},
		{"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + eight, true, false, false, false},
		{multi, true, false, false, false},
		{signed, true, false, true, false},
		{signed, false, true, false, true},
		{"Subject: x\r\n\r\n" + long + "\r\n", false, true, false, false},
		{"Content-Type: image/png\r\n\r\n" + long + "\r\n", false, true, false, false},
		{"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n" + long + "\r\n", false, true, false, true},
		{"Subject: x\r\n\r\nplain\r\n", true, true, false, true},
	} {
		for _, pad := range []string{"", strings.Repeat("y", 900) + "\r\n"} {
			in := c.in + strings.Repeat(pad, 300)
			m, err := openOriginal(text(in))
			if err != nil {
				t.Fatal(err)
			}
			err = m.recode(c.seven, c.long)
			if (err == errFixed) != c.fixed || err != nil && !c.fixed {
				t.Fatalf("%.60q: %v", c.in, err)
			}
			if c.fixed {
				m.close()
				continue
			}
			got := whole(t, m)
			if c.same != (got == in) {
				t.Errorf("%.60q: %.300q", c.in, got)
			}
			if c.seven && m.eightBody || c.long && m.longBody && !c.same {
				t.Errorf("%.60q: left %+v", c.in, m.facts)
			}
			if read(t, got) != read(t, in) {
				t.Errorf("%.60q says something else: %q\nwas %q", c.in, read(t, got), read(t, in))
			}
			m.close()
		}
	}
}

func read(t *testing.T, message string) string {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(message))
	if err != nil {
		t.Fatal(err)
	}
	kind := m.Header.Get("Content-Type")
	if kind == "" || strings.Contains(kind, "unknown-8bit") {
		kind = "text/plain"
	}
	return strings.TrimRight(strings.Join(parts(t, m.Body, kind, m.Header.Get("Content-Transfer-Encoding")), "|"), "\r\n")
}

// Binary parts (RFC 3030) leave in base64, before lines are mended.
func TestBinary(t *testing.T) {
	m, err := openOriginal(text("Content-Type: application/x\r\nContent-Transfer-Encoding: binary\r\n\r\na\x00b\nc\rd"))
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, whole(t, m)); got != "application/x: a\x00b\nc\rd" {
		t.Errorf("%q", got)
	}
}

// FuzzLines looks for input that leaves with anything but whole lines.
func FuzzLines(f *testing.F) {
	for _, s := range []string{"A: b\r\n\r\nx\r\n.\r\n", "\n.\n", "\r.\r\r\n\x00", "Content-Transfer-Encoding: binary\r\n\r\n\xff\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\xff\r\n--b--"} {
		f.Add([]byte(s), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, seven bool) {
		m, err := openOriginal(text(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		if seven {
			if err := m.recode(true, true); err != nil && err != errFixed {
				t.Fatal(err)
			} else if err == nil && m.eightBody {
				t.Errorf("8 bits are left in %q", whole(t, m))
			}
		}
		s := stuffer{}
		all := whole(t, m)
		for i := range len(all) { // byte by byte
			s.add([]byte(all[i : i+1]))
		}
		out := string(s.out) + ".\r\n"
		if strings.HasPrefix(out, ".\r\n") != (out == ".\r\n") || len(out) > 3 && strings.Index(out, "\r\n.\r\n") != len(out)-5 {
			t.Errorf("%q ends too early, or not at all", out)
		}
		if strings.ContainsAny(strings.ReplaceAll(out, "\r\n", ""), "\r\n\x00") {
			t.Errorf("%q has bare line ends", out)
		}
	})
}

func base64Reader(r io.Reader) io.Reader { return base64.NewDecoder(base64.StdEncoding, r) }

// The Return-Path is for mailboxes of ours, and does not go out.
func TestReturnPathStays(t *testing.T) {
	for in, want := range map[string]int64{
		"": 0, "A: b\r\n": 0, "Return-Path: <a@b.example>\r\nReceived: x\r\n": 28, "return-path: <a@b.example>\r\n": 28, "Return-Path:\r\n <>\r\nA: b\r\n": 19,
		"Return-Path: <>": 0, "Return-Path-X: <>\r\n": 0, "A: b\r\nReturn-Path: <>\r\n": 0, "Return-Path: " + strings.Repeat("x", maxReturnPath) + "\r\n": 0,
	} {
		if got := returnPath(strings.NewReader(in)); got != want {
			t.Errorf("%.40q: %d, want %d", in, got, want)
		}
	}
}
