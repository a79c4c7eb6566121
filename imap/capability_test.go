package imap_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
)

// announced are the capabilities of a connection with TLS, before login and after, with the RFC that each is of and where it is played: a script of
// testdata or a test, which cites that RFC.
var announced = []struct{ name, rfc, played string }{
	{"IMAP4rev1", "3501", "testdata/names.txt"},
	{"IMAP4rev2", "9051", "testdata/rev2.txt"},
	{"LITERAL+", "7888", "testdata/literal.txt"},
	{"ID", "2971", "testdata/id.txt"},
	{"ENABLE", "5161", "testdata/enable.txt"},
	{"IDLE", "2177", "testdata/idle.txt"},
	{"NAMESPACE", "2342", "testdata/shared.txt"},
	{"UNSELECT", "3691", "testdata/unselect.txt"},
	{"UIDPLUS", "4315", "testdata/copy.txt"},
	{"CHILDREN", "3348", "testdata/liststatus.txt"},
	{"LIST-EXTENDED", "5258", "testdata/listextended.txt"},
	{"LIST-STATUS", "5819", "testdata/liststatus.txt"},
	{"LIST-MYRIGHTS", "8440", "testdata/shared.txt"},
	{"SPECIAL-USE", "6154", "testdata/special.txt"},
	{"CREATE-SPECIAL-USE", "6154", "testdata/special.txt"},
	{"STATUS=SIZE", "8438", "testdata/liststatus.txt"},
	{"MOVE", "6851", "testdata/copy.txt"},
	{"ESEARCH", "4731", "testdata/search.txt"},
	{"SORT", "5256", "testdata/sort.txt"},
	{"SORT=DISPLAY", "5957", "testdata/sort.txt"},
	{"ESORT", "5267", "testdata/sort.txt"},
	{"THREAD=ORDEREDSUBJECT", "5256", "testdata/thread.txt"},
	{"THREAD=REFERENCES", "5256", "testdata/thread.txt"},
	{"THREAD=REFS", "5256", "testdata/thread.txt"}, // a draft, which extends it
	{"PREVIEW", "8970", "testdata/preview.txt"},
	{"SEARCHRES", "5182", "testdata/search.txt"},
	{"WITHIN", "5032", "testdata/searchkeys.txt"},
	{"CONTEXT=SEARCH", "5267", "testdata/context.txt"},
	{"CONTEXT=SORT", "5267", "testdata/contextsort.txt"},
	{"I18NLEVEL=1", "5255", "testdata/i18n.txt"},
	{"MULTISEARCH", "7377", "testdata/multisearch.txt"},
	{"INPROGRESS", "9585", "search_test.go"},
	{"BINARY", "3516", "testdata/appendbinary.txt"},
	{"MULTIAPPEND", "3502", "testdata/multiappend.txt"},
	{"CATENATE", "4469", "testdata/catenate.txt"},
	{"URL-PARTIAL", "5550", "testdata/catenate.txt"},
	{"REPLACE", "8508", "testdata/replace.txt"},
	{"UTF8=ACCEPT", "9755", "testdata/utf8.txt"},
	{"CONDSTORE", "7162", "testdata/condstore.txt"},
	{"QRESYNC", "7162", "testdata/qresync.txt"},
	{"OBJECTID", "8474", "testdata/objectid.txt"},
	{"SAVEDATE", "8514", "testdata/objectid.txt"},
	{"PARTIAL", "9394", "testdata/partial.txt"},
	{"UIDONLY", "9586", "testdata/uidonly.txt"},
	{"ACL", "4314", "testdata/acl.txt"},
	{"RIGHTS=kxte", "4314", "acl_test.go"},
	{"METADATA", "5464", "testdata/metadata.txt"},
	{"LIST-METADATA", "9590", "testdata/metadata.txt"},
	{"QUOTA", "9208", "testdata/quota.txt"},
	{"QUOTA=RES-STORAGE", "9208", "testdata/quota.txt"},
	{"QUOTA=RES-MESSAGE", "9208", "testdata/quota.txt"},
	{"QUOTASET", "9208", "testdata/quota.txt"},
	{"COMPRESS=DEFLATE", "4978", "compress_test.go"},
	{"NOTIFY", "5465", "testdata/notify.txt"},
	{"UNAUTHENTICATE", "8437", "testdata/unauthenticate.txt"},
	{"APPENDLIMIT=52428800", "7889", "testdata/liststatus.txt"},
	{"MESSAGELIMIT=1000000", "9738", "limit_test.go"},

	{"SASL-IR", "4959", "testdata/authenticate.txt"},
	{"AUTH=SCRAM-SHA-256-PLUS", "7677", "../auth/scramhand_test.go"},
	{"AUTH=SCRAM-SHA-256", "7677", "../auth/scramhand_test.go"},
	{"AUTH=OAUTHBEARER", "7628", "bearer_test.go"},
	{"AUTH=XOAUTH2", "7628", "bearer_test.go"},
	{"AUTH=PLAIN", "4616", "../auth/sasl_test.go"},
	{"AUTH=LOGIN", "4422", "../auth/sasl_test.go"}, // of no RFC of its own
}

// What is announced is in the table above, in docs/rfcs.md, and played; what is in the table is announced.
func TestAnnounced(t *testing.T) {
	listed, err := os.ReadFile(filepath.Join("..", "docs", "rfcs.md"))
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	before := dialTLS(t, h)
	before.say("t CAPABILITY")
	greeting := before.until("* CAPABILITY ")
	after := dialTLS(t, h).do("LOGIN ann@example.test secret")
	for name := range strings.FieldsSeq(strings.TrimPrefix(greeting, "* CAPABILITY ")) {
		if !slices.ContainsFunc(announced, func(c struct{ name, rfc, played string }) bool { return c.name == name }) {
			t.Errorf("%s is announced and not in the table", name)
		}
	}
	for _, c := range announced {
		word := regexp.MustCompile(` ` + regexp.QuoteMeta(c.name) + `[] ]`)
		if !word.MatchString(greeting + " ") {
			t.Errorf("%s is not announced before login", c.name)
		}
		login := c.rfc == "4959" || strings.HasPrefix(c.name, "AUTH=")
		if word.MatchString(after) == login {
			t.Errorf("%s after login: %t", c.name, login)
		}
		if state := regexp.MustCompile(`(?m)^\| ` + c.rfc + ` \|[^|]*\| (done|partly) \|`); !state.Match(listed) {
			t.Errorf("%s: docs/rfcs.md does not tell what there is of RFC %s", c.name, c.rfc)
		}
		text, err := os.ReadFile(c.played)
		if err != nil {
			t.Error(err)
		} else if !regexp.MustCompile(`\b` + c.rfc + `\b`).Match(text) {
			t.Errorf("%s: %s does not cite RFC %s", c.name, c.played, c.rfc)
		}
	}
}
