package wire

import (
	"strings"
	"testing"
)

func TestEntryNames(t *testing.T) {
	for name, want := range map[string]string{
		"/shared/comment": "/shared/comment", "/Private/Vendor/X/Y": "/private/vendor/x/y", "/private": "/private", `"/shared/a b"`: "/shared/a b",
		"/comment": "", "shared/comment": "", "/sharedx/y": "", "/shared/": "", "/shared//x": "", `"/shared/a*"`: "", `"/shared/a%"`: "", "\"/shared/\xc3\xa4\"": "",
		`"/shared/a` + "\t" + `"`: "", `"/shared/` + strings.Repeat("a", maxEntry) + `"`: "", `""`: "",
	} {
		d := begin(t, name+"\r\n")
		if got := d.Entry(); got != want || (d.Err() != nil) != (want == "") {
			t.Errorf("%s: %q %v", name, got, d.Err())
		}
	}
}

// again is a Decoder of the text from its beginning.
func again(text string) (*Decoder, bool) {
	d, _ := open(text)
	err := d.Next()
	d.LiteralMax, d.LiteralSum = 1<<10, 4<<10
	return d, err == nil
}

// FuzzMetadata: no panic, and what is taken is within its limits.
func FuzzMetadata(f *testing.F) {
	f.Add("(MAXSIZE 5 DEPTH infinity) INBOX (/shared/comment \"/private/x\")\r\n")
	f.Add("INBOX (DEPTH 1) /shared/comment\r\n")
	f.Add("INBOX (/shared/comment {3+}\r\nabc /private/vendor/a/b ~{1+}\r\n\x00 /private/y NIL)\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		d, ok := again(text)
		if !ok {
			return // not a line
		}
		if o := d.GetMetadata(); d.Err() == nil && (len(o.Entries) == 0 || len(o.Entries) > maxEntries || o.Depth < -1 || o.Depth > 1) {
			t.Fatalf("%+v", o)
		}
		d, _ = again(text)
		_, values := d.SetMetadata()
		for _, v := range values {
			if d.Err() == nil && (!validEntry(v.Entry) || v.Nil && v.Value != "") {
				t.Fatalf("%+v", v)
			}
		}
		d, _ = again(text)
		if l := d.SetQuota(); d.Err() == nil && len(l) > maxResources {
			t.Fatalf("%+v", l)
		}
	})
}
