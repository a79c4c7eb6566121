package imap_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"mime/quotedprintable"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/unicode"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/imap"
	"github.com/packetboat/packetboat/storage"
)

// searchWords are what mail of the model is made of, and needles are cut from.
var searchWords = strings.Fields("Straße straSSE ÉTÉ été e\u0301te\u0301 Ångström ǅungla ﬁnance Добрый ДЕНЬ день 検索 日本語 メール ｶﾞ 한국 ＦＵＬＬ full İstanbul ıi ſs " +
	"the Invoice invoices <p>html</p> &amp; a@b joe(comment)@example.test =?utf-8?q?not_a_word?= x\u00a0y 𝐁𝐨𝐥𝐝 bold µ μ ϐ β \u202e ZWJ\u200d 100% \"quoted\" back\\slash")

func searchText(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(searchWords[r.IntN(len(searchWords))])
		b.WriteString([]string{" ", " ", "\r\n", "", ", ", "\t"}[r.IntN(6)])
	}
	return b.String()
}

// oneLine is a text that may stand in a header, encoded or not.
func oneLine(r *rand.Rand) string {
	s := strings.NewReplacer("\r\n", " ").Replace(searchText(r, 1+r.IntN(60)))
	switch r.IntN(6) {
	case 0:
		return "=?UTF-8?B?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	case 1:
		k := r.IntN(len(s))
		return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s[:k])) + "?=\r\n =?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s[k:])) + "?="
	case 2:
		l, _ := charmap.Windows1252.NewEncoder().String("Grüße àéî")
		return "=?iso-8859-1?Q?" + strings.NewReplacer(" ", "_", "\xfc", "=FC", "\xdf", "=DF").Replace(l) + "?="
	case 3:
		return s + "\xff\xe9 raw"
	}
	return strings.ReplaceAll(s, ", ", ",\r\n\t")
}

// leaf is a part with its header.
func leaf(r *rand.Rand) string {
	size := 1 + r.IntN(400)
	if r.IntN(12) == 0 {
		size = 20_000 + r.IntN(60_000)
	}
	text := searchText(r, size)
	charset := []string{"utf-8", "iso-8859-1", "koi8-r", "iso-2022-jp", "utf-16", "unknown-x", ""}[r.IntN(7)]
	switch charset {
	case "iso-8859-1":
		text, _ = charmap.ISO8859_1.NewEncoder().String("caf\u00e9 \u00c9t\u00e9 " + strings.Repeat("na\u00efve ", r.IntN(50)))
	case "koi8-r":
		text, _ = charmap.KOI8R.NewEncoder().String("Добрый День " + strings.Repeat("день ", r.IntN(50)))
	case "iso-2022-jp":
		text, _ = japanese.ISO2022JP.NewEncoder().String("日本語 検索 " + strings.Repeat("メール ", r.IntN(50)))
	case "utf-16":
		text, _ = unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewEncoder().String(text)
	}
	head := "Content-Type: text/" + []string{"plain", "html"}[r.IntN(2)]
	if charset != "" {
		head += "; charset=" + charset
	}
	var b bytes.Buffer
	switch encoding := r.IntN(3); {
	case encoding == 0 || charset == "utf-16":
		head += "\r\nContent-Transfer-Encoding: base64"
		e := base64.StdEncoding.EncodeToString([]byte(text))
		for ; len(e) > 76; e = e[76:] {
			b.WriteString(e[:76] + "\r\n")
		}
		b.WriteString(e)
		if r.IntN(6) == 0 {
			b.WriteString("*&^ broken")
		}
	case encoding == 1:
		head += "\r\nContent-Transfer-Encoding: quoted-printable"
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
	default:
		b.WriteString(text)
	}
	return head + "\r\nContent-Description: " + oneLine(r) + "\r\n\r\n" + b.String()
}

func entity(r *rand.Rand, depth int) string {
	switch {
	case depth < 4 && r.IntN(3) == 0:
		boundary := fmt.Sprintf("b%d-%d", depth, r.IntN(1000))
		s := "Content-Type: multipart/mixed; boundary=" + boundary + "\r\n\r\npreamble with invoice\r\n"
		for range 1 + r.IntN(3) {
			s += "--" + boundary + "\r\n" + entity(r, depth+1) + "\r\n"
		}
		return s + "--" + boundary + "--\r\n"
	case depth < 4 && r.IntN(6) == 0:
		return "Content-Type: message/rfc822\r\n\r\n" + anyMail(r, depth+1)
	case r.IntN(8) == 0:
		return "Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\naW52b2ljZSBpbiBhIHBkZg==\r\n"
	}
	return leaf(r)
}

func anyMail(r *rand.Rand, depth int) string {
	s := ""
	for range 1 + r.IntN(5) {
		s += []string{"Subject", "From", "To", "Cc", "X-Odd", "subject", "List-Id", "Comments "}[r.IntN(8)] + ": " + oneLine(r) + "\r\n"
	}
	if r.IntN(20) == 0 {
		s += "From joe with no colon\r\n"
	}
	if r.IntN(40) == 0 {
		s += "X-Odd: " + strings.Repeat(searchWords[r.IntN(len(searchWords))]+" ", 4000) + "\r\n"
	}
	return s + entity(r, depth)
}

// searchKey is a random search, and what a tree of them needs.
func searchKey(r *rand.Rand, depth int) string {
	if depth < 3 && r.IntN(3) == 0 {
		switch r.IntN(3) {
		case 0:
			return "NOT " + searchKey(r, depth+1)
		case 1:
			return "OR " + searchKey(r, depth+1) + " " + searchKey(r, depth+1)
		}
		return "(" + searchKey(r, depth+1) + " " + searchKey(r, depth+1) + ")"
	}
	key := []string{"TEXT", "BODY", "SUBJECT", "FROM", "TO", "HEADER X-Odd", "HEADER From", "TEXT", "BODY", "HEADER List-Id", "SMALLER 2000 SUBJECT"}[r.IntN(11)]
	n := searchText(r, 1+r.IntN(20))
	if r.IntN(3) == 0 {
		k := r.IntN(len(n))
		n = strings.ToValidUTF8(n[k:min(len(n), k+1+r.IntN(12))], "")
	}
	switch r.IntN(10) {
	case 0:
		n = ""
	case 1:
		n = strings.ToUpper(n)
	case 2:
		n = strings.ToLower(n)
	case 3:
		n += "never"
	}
	return fmt.Sprintf("%s {%d+}\r\n%s", key, len(n), n)
}

// What the text index answers is what reading every message would: the same searches before it was built, with a part of the
// mailbox in it, with all, and after messages were expunged.
func TestSearchIndexedEqualsScanned(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	put := func(n int) {
		for range n {
			h.put(t, "ann", "INBOX", anyMail(r, 0))
		}
	}
	build := func() {
		if err := h.store.BuildIndex(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	l := login(t, h)
	l.do("SELECT INBOX")
	search := func(keys []string) (found []string) {
		for _, k := range keys {
			l.say("t UID SEARCH %s", k)
			var lines []string
			for {
				s, err := l.r.ReadString('\n')
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(s, "* SEARCH") || strings.HasPrefix(s, "t ") {
					lines = append(lines, s)
				}
				if strings.HasPrefix(s, "t ") {
					if !strings.HasPrefix(s, "t OK") {
						t.Fatalf("%q: %s", k, s)
					}
					break
				}
			}
			found = append(found, strings.Join(lines, ""))
		}
		return found
	}
	keys := make([]string, 150)
	for i := range keys {
		keys[i] = searchKey(r, 0)
	}
	same := func(when string, got, want []string) {
		t.Helper()
		if slices.Equal(got, want) {
			return
		}
		for i := range keys {
			if got[i] != want[i] {
				t.Fatalf("%s: %q gave\n%s want\n%s", when, keys[i], got[i], want[i])
			}
		}
	}
	put(60)
	want := search(keys)
	if hits := strings.Count(strings.Join(want, ""), "* SEARCH "); hits < len(keys)/4 {
		t.Errorf("only %d of %d searches find anything", hits, len(keys))
	}
	build()
	same("indexed", search(keys), want)
	put(60)
	want = search(keys)
	build()
	same("all indexed", search(keys), want)
	if st, err := h.store.TextStats(t.Context()); err != nil || st.Indexed != 120 || st.Unindexed != 0 {
		t.Errorf("%+v %v", st, err)
	}
	l.do("UID STORE 20:60 +FLAGS.SILENT (\\Deleted)")
	l.do("EXPUNGE")
	got := search(keys)
	if err := h.store.Reindex(t.Context()); err != nil {
		t.Fatal(err)
	}
	same("after an expunge", got, search(keys))
}

// Text beyond what the index keeps of a message is still found.
func TestSearchBeyondTheIndex(t *testing.T) {
	h := open(t, imap.Options{}, auth.PlaintextLoopback)
	none := int64(0)
	if _, err := h.store.UpdateAccount(t.Context(), h.accounts["ann"].ID, storage.AccountChange{Quota: &none}); err != nil {
		t.Fatal(err)
	}
	h.put(t, "ann", "INBOX", "Subject: long\r\n\r\nalpha "+strings.Repeat("and so on, and so on\r\n", 70_000)+"omega")
	h.put(t, "ann", "INBOX", "Subject: short\r\n\r\nalpha and so on")
	if err := h.store.BuildIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := login(t, h)
	l.do("SELECT INBOX")
	for keys, want := range map[string]string{
		"TEXT alpha": "* SEARCH 1 2", "BODY omega": "* SEARCH 1", "NOT TEXT omega": "* SEARCH 2", "TEXT omegas": "* SEARCH", "BODY \"so on, and so on\"": "* SEARCH 1",
		"OR TEXT omega SUBJECT short": "* SEARCH 1 2", "TEXT omega SUBJECT short": "* SEARCH",
	} {
		l.say("t SEARCH %s", keys)
		if got := l.until("* SEARCH"); got != want {
			t.Errorf("%s: %s, want %s", keys, got, want)
		}
		l.until("t OK")
	}
}
