package imap

import (
	"strings"
	"testing"

	"github.com/packetboat/packetboat/imap/wire"
)

func TestParseURL(t *testing.T) {
	type want struct {
		user, host, mailbox string
		validity, uid       uint32
		section             string
	}
	for in, w := range map[string]want{
		"/INBOX/;UID=1": {mailbox: "INBOX", uid: 1, section: "BODY[]"},
		"/a;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME":                         {mailbox: "a", validity: 7, uid: 20, section: "BODY[1.2.MIME]"},
		"/a;uidvalidity=7/;uid=20/;section=header":                           {mailbox: "a", validity: 7, uid: 20, section: "BODY[HEADER]"},
		"/a/b%20c/%E2%82%AC/;UID=4294967295/;PARTIAL=5":                      {mailbox: "a/b c/€", uid: 4294967295, section: "BODY[]<5>"},
		"/a/;UID=1/;SECTION=TEXT/;PARTIAL=0.10":                              {mailbox: "a", uid: 1, section: "BODY[TEXT]<0>"},
		"/a%3Bb%2F/;UID=1":                                                   {mailbox: "a;b/", uid: 1, section: "BODY[]"},
		";UID=3/;SECTION=HEADER.FIELDS%20(A%20%22B%22)":                      {uid: 3, section: "BODY[HEADER.FIELDS (A B)]"},
		"imap://host/a/;UID=1":                                               {host: "host", mailbox: "a", uid: 1, section: "BODY[]"},
		"IMAP://u%40x;AUTH=*@host.test:993/a/;UID=1":                         {user: "u@x", host: "host.test", mailbox: "a", uid: 1, section: "BODY[]"},
		"//[::1]:143/a/;UID=1":                                               {host: "::1", mailbox: "a", uid: 1, section: "BODY[]"},
		"/x/../a/./;UID=1":                                                   {mailbox: "a", uid: 1, section: "BODY[]"},
		"/../a/;UID=1":                                                       {mailbox: "a", uid: 1, section: "BODY[]"},
		"/a/;UID=1/;SECTION=1/;PARTIAL=9223372036854775807.9223372036854775": {mailbox: "a", uid: 1, section: "BODY[1]<9223372036854775807>"},
	} {
		u, err := parseURL(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		u.section.Partial = u.partial
		got := want{u.user, u.host, u.mailbox, u.uidValidity, u.uid, string(wire.AppendSection(nil, u.section))}
		if got != w {
			t.Errorf("%s: %+v", in, got)
		}
	}
	for _, in := range []string{
		"", "/", "//", "imap:", "imap:/a/;UID=1", "imap://", "imap:///a/;UID=1", "http://host/a/;UID=1", "a/;UID=1", "../;UID=1", "/INBOX", "/INBOX/", "/;UID=1", "//;UID=1",
		"/a/;UID=0", "/a/;UID=01", "/a/;UID=", "/a/;UID=-1", "/a/;UID=4294967296", "/a/;UID=1:2", "/a/;UID=*", "/a/;UID=1,2", "/a;UIDVALIDITY=0/;UID=1", "/a;UIDVALIDITY=x/;UID=1",
		"/a;X=1/;UID=1", "/a/;UID=1/", "/a/;UID=1/;SECTION=", "/a/;UID=1/;SECTION=NO", "/a/;UID=1/;SECTION=1]", "/a/;UID=1/;SECTION=TEXT]BODY[", "/a/;UID=1/;PARTIAL=", "/a/;UID=1/;PARTIAL=1.0",
		"/a/;UID=1/;PARTIAL=1.", "/a/;UID=1/;PARTIAL=-1", "/a/;UID=1/;PARTIAL=1.2.3", "/a/;UID=1/;PARTIAL=1/;SECTION=1", "/a/;UID=1;EXPIRE=2030-01-01T00:00:00Z;URLAUTH=anonymous:INTERNAL:00",
		"/a%/;UID=1", "/a%4/;UID=1", "/a%zz/;UID=1", "/%ff/;UID=1", "/a b/;UID=1", "/a?SUBJECT/;UID=1", "/a/;UID=1?x", "/foo/;UID=20/..", "/a/;UID=1#x", "imap://a@b@c/x/;UID=1",
		"/a/;UID=1/;SECTION={1}", "/" + strings.Repeat("a", maxURL) + "/;UID=1",
	} {
		if u, err := parseURL(in); err == nil {
			t.Errorf("%s: %+v", in, u)
		}
	}
}

// FuzzParseURL: no panic, and what is taken names one message.
func FuzzParseURL(f *testing.F) {
	f.Add("imap://u%40x;AUTH=*@host:1/a;UIDVALIDITY=7/;UID=20/;SECTION=1.2.MIME/;PARTIAL=1.2")
	f.Add("/../a/;UID=1")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := parseURL(s)
		if err == nil && (u.uid == 0 || u.section == nil || u.partial != nil && (u.partial.Offset < 0 || u.partial.Size <= 0)) {
			t.Fatalf("%+v", u)
		}
		for _, c := range []byte(badURL(s)) {
			if c < ' ' || c > '~' || c == ']' || c == '\\' {
				t.Fatalf("%q", badURL(s))
			}
		}
	})
}
