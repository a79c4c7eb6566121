package imap

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/packetboat/packetboat/storage/mime"
)

// TestKeysAreWhatSearchSees: the texts that are kept of a message say of every needle what its header says, as far as they know.
func TestKeysAreWhatSearchSees(t *testing.T) {
	piece := rapid.SampledFrom([]string{"From", "To", "CC", "bcc", "Subject", "X-To", ":", ": ", " ", "\r\n", "\r\n ", "(", ")", "\"", "\\", "<", ">", "@", " @ ", ",", ";",
		"joe", "Äpfel", "a.example", "=?utf-8?q?J=C3=B6rg?=", "=?utf-8?q?", "?=", "=?iso-8859-1?b?SvZyZw==?=", "\xff", "\x00", strings.Repeat("long ", 300)})
	field := rapid.Custom(func(t *rapid.T) string {
		name := rapid.SampledFrom([]string{"From: ", "to:", "Cc : ", "BCC: ", "Subject: ", "Subject:", "Other: "}).Draw(t, "name")
		return name + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "value"), "") + "\r\n"
	})
	var needles []needle
	for _, s := range []string{"", "joe", "JOE", "jörg", "=?utf", "äpfel", "joe@a.example", "@", "(", "long long", "\x00", "a.exampleä", "Ã"} {
		needles = append(needles, newNeedle(s))
	}
	names := []string{mime.TextSubject: "Subject", mime.TextFrom: "From", mime.TextTo: "To", mime.TextCc: "Cc", mime.TextBcc: "Bcc"}
	rapid.Check(t, func(t *rapid.T) {
		block := []byte(strings.Join(rapid.SliceOfN(field, 0, 6).Draw(t, "fields"), "") + "\r\n")
		x := mime.NewIndexer(mime.Limits{})
		x.Write(block)
		k := mime.AppendKeys(nil, block, true, x.Finish().Root.Envelope)
		var buf scratch
		for text, name := range names {
			for _, n := range needles {
				has, known := k.Has(mime.KeyText(text), n.folded)
				want := header{block, &buf}.has(name, n, mime.KeyText(text) != mime.TextSubject)
				if known && has != want {
					t.Fatalf("%s of %q: %v, want %v for %q", name, block, has, want, n.folded)
				}
				if !known && has {
					t.Fatal("it has what it does not know")
				}
			}
		}
	})
}
