package verify

import (
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// What verifies one signature is never taken for another's, however a sender writes fields so that two readers count them differently.
func TestDKIMNotForOthers(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.evil.net", record(t, keys.rsa))
	d.Text("r._domainkey.example.org", record(t, keys.ed)) // whose private half the sender has not
	good := signedBy(t, letterText, msgauth.SignOptions{Domain: "evil.net", Selector: "r", Signer: keys.rsa, HeaderKeys: []string{"From"}})
	tags := "v=1; a=rsa-sha256; d=example.org; s=r; h=From; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA"
	for _, forged := range []string{
		"DKIM-Signature: " + tags + "\r\n", "DKIM-Signature : " + tags + "\r\n", "DKIM-Signature\t: " + tags + "\r\n", "dkim-SIGNATURE: " + tags + "\r\n",
		"DKIM-Signature:\r\n " + tags + "\r\n", "DKIM-Signature:" + strings.ReplaceAll(tags, "; ", ";\r\n\t") + "\r\n", "DKIM-Signature: " + tags + "\n",
		"DKIM-Signature: " + tags + "\r\n \r\n", "X: y\rDKIM-Signature: " + tags + "\r\n", "X: y\n DKIM-Signature: " + tags + "\r\n", "garbage\r\nDKIM-Signature: " + tags + "\r\n",
		" DKIM-Signature: " + tags + "\r\n", "DKIM-Signature\x00: " + tags + "\r\n", "DKIM-Signature\r\n : " + tags + "\r\n", "DKIM-Signature\u017f: " + tags + "\r\n", "D\u212aIM-Signature: " + tags + "\r\n",
		"D\u212aIM-\u017fignature: " + tags + "\r\n", "\u00a0DKIM-Signature: " + tags + "\r\n", "DKIM-Signature\u00a0: " + tags + "\r\n", "DKIM-Signature\u3000: " + tags + "\r\n", "DKIM-Signature\v: " + tags + "\r\n", "\x0cDKIM-Signature: " + tags + "\r\n",
	} {
		head, _, _ := strings.Cut(good, "\r\n\r\n")
		sig, rest, _ := strings.Cut(head, "From: ")
		for _, text := range []string{forged + good, sig + forged + "From: " + rest + good[len(head):], strings.Repeat(forged, 12) + good} {
			for _, s := range dkimOf(t, v, text, "example.org") {
				if s.Status == Pass && s.Domain != "evil.net" {
					t.Errorf("%.60q passes for %s: %+v", forged, s.Domain, s)
				}
			}
		}
	}
}

// The other way round: the signature that holds stands in a field whose name the library reads as DKIM-Signature and we may not.
func TestDKIMOddNames(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.evil.net", record(t, keys.rsa))
	d.Text("r._domainkey.example.org", record(t, keys.ed))
	good := signedBy(t, letterText, msgauth.SignOptions{Domain: "evil.net", Selector: "r", Signer: keys.rsa, HeaderKeys: []string{"From"}, HeaderCanonicalization: "relaxed"})
	forged := "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=r; h=From; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA\r\n"
	for _, name := range []string{"DKIM-\u017fignature", "D\u212aIM-Signature", "\u00a0DKIM-Signature", "DKIM-Signature\u00a0", "DKIM-Signature\u3000", "DKIM-Signature\v", "\x0cDKIM-Signature", "DKIM-Signature \t", "DKIM-Signature\u0085", "DKIM-Signature\r"} {
		odd := strings.Replace(good, "DKIM-Signature", name, 1)
		for _, text := range []string{odd[:strings.Index(odd, "From: ")] + forged + odd[strings.Index(odd, "From: "):], forged + odd, strings.Repeat(forged, 12) + odd} {
			for _, s := range dkimOf(t, v, text, "example.org") {
				if s.Status == Pass && s.Domain != "evil.net" {
					t.Errorf("%q: what holds for evil.net passes for %s", name, s.Domain)
				}
			}
		}
	}
}

// A replayed message whose signed From was hidden behind an odd name does not vouch for another From.
func TestDKIMHiddenFrom(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	good := signedBy(t, letterText, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa, HeaderKeys: []string{"From", "Subject"}, HeaderCanonicalization: "relaxed"})
	if got := statuses(dkimOf(t, v, good)); got != "pass" {
		t.Fatal(got)
	}
	for _, name := range []string{"From\u00a0", "\u00a0From", "From\v", "From\u3000"} {
		changed := strings.Replace(good, "From: ", name+": ", 1)
		for _, text := range []string{"From: boss@example.org\r\n" + changed, strings.Replace(changed, "To: ", "From: boss@example.org\r\nTo: ", 1)} {
			if got := statuses(dkimOf(t, v, text)); got != "fail" {
				t.Errorf("%q: %s", name, got)
			}
		}
	}
}

// What the library sees of a header is what signatures name: it goes through all of it for each name, which a sender could make into minutes.
func TestDKIMLongHeader(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{})
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	o := msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa, HeaderKeys: []string{"From", "X", "x", "Absent", "absent"}, HeaderCanonicalization: "relaxed"}
	good := signedBy(t, "X: 1\r\nX: 2\r\nx : 3\r\n"+letterText, o)
	long := strings.Repeat("a:\r\n", 1000) + strings.Repeat("x: 0\r\n", 1000) + good + "\r\n"
	if got := statuses(dkimOf(t, v, long)); got != "pass" {
		t.Errorf("fields above those that are signed: %s", got)
	}
	if got := statuses(dkimOf(t, v, strings.Replace(good, "X: 2", "X: 4", 1))); got != "fail" {
		t.Errorf("a changed field: %s", got)
	}
	if got := statuses(dkimOf(t, v, strings.Replace(good, "\r\nFrom:", "\r\nx: 5\r\nFrom:", 1))); got != "fail" {
		t.Errorf("a field below: %s", got)
	}
	fields := HeaderFields(message(long, "192.0.2.1", "x.test", "").Header)
	var all []*signature
	for _, f := range fields {
		if f.Name == "dkim-signature" {
			all = append(all, readSignature(f))
		}
	}
	if n := len(HeaderFields(signedHeader(all, fields).Bytes())); len(all) != 1 || n != 4 {
		t.Errorf("%d fields are looked at", n)
	}
	// One that nobody looks at costs nothing either.
	d.Text("s._domainkey.example.org", record(t, keys.rsa))
	before := d.Asked("s._domainkey.example.org", "TXT")
	many := "DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA; h=From" + strings.Repeat(":b", 600) + "\r\n"
	if got := statuses(dkimOf(t, v, many+letterText)); got != "neutral" || d.Asked("s._domainkey.example.org", "TXT") != before {
		t.Errorf("too many names: %s", got)
	}
}
