//go:build bench

package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// letters makes messages as people have them: threads, several senders, plain text with and without HTML, some attachments. Message i is
// always the same.
type letters struct {
	words  []string
	people []string
	blob   string // base64 lines that attachments are cut from
}

func newLetters() *letters {
	r := rand.New(rand.NewPCG(1, 2))
	l := &letters{}
	syllables := strings.Fields("ba be bi bo bu da de di do du ka ke ki ko ku la le li lo lu ma me mi mo mu na ne ni no nu ra re ri ro ru sa se si so su ta te ti to tu")
	for range 20000 {
		w := ""
		for range 2 + r.IntN(3) {
			w += syllables[r.IntN(len(syllables))]
		}
		l.words = append(l.words, w)
	}
	for range 1000 {
		l.people = append(l.people, fmt.Sprintf("%s %s", title(l.words[r.IntN(20000)]), title(l.words[r.IntN(20000)])))
	}
	raw := make([]byte, 200<<10)
	for i := range raw {
		raw[i] = byte(r.Uint32())
	}
	text := base64.StdEncoding.EncodeToString(raw)
	var b strings.Builder
	for len(text) > 76 {
		b.WriteString(text[:76] + "\r\n")
		text = text[76:]
	}
	l.blob = b.String()
	return l
}

func title(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// firstDate is when message 0 came; each later one came ten minutes after the one before it.
var firstDate = time.Date(2024, 1, 1, 8, 0, 0, 0, time.UTC)

func mailDate(i int) time.Time { return firstDate.Add(time.Duration(i) * 10 * time.Minute) }

// mail is message number i. One in a hundred has zqx<i%100>z in its text, one in fifty topic<i%50>x in its subject.
func (l *letters) mail(i int) []byte {
	r := rand.New(rand.NewPCG(uint64(i), 7))
	some := func(n int) string {
		var b strings.Builder
		for k := range n {
			if k > 0 {
				b.WriteByte(' ')
			}
			x := r.Float64()
			b.WriteString(l.words[int(x*x*x*float64(len(l.words)))])
		}
		return b.String()
	}
	from := r.IntN(len(l.people))
	var b strings.Builder
	b.Grow(8 << 10)
	date := mailDate(i).Format(time.RFC1123Z)
	fmt.Fprintf(&b, "Return-Path: <user%d@example.net>\r\nReceived: from mail.example.net (mail.example.net [192.0.2.7])\r\n\tby mx.example.test (Postfix) with ESMTPS id 4F%08X\r\n\tfor <ann@example.test>; %s\r\n", from, i*7919, date)
	fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=s1;\r\n\th=from:to:subject:date; bh=%s=;\r\n\tb=%s\r\n", l.blob[i%1000:i%1000+40], strings.ReplaceAll(l.blob[i%5000:i%5000+300], "\r\n", "\r\n\t"))
	subject := some(3+r.IntN(5)) + fmt.Sprintf(" topic%dx", i%50)
	if i > 20 && r.IntN(3) == 0 { // an answer
		to := i - 1 - r.IntN(20)
		subject = "Re: " + subject
		fmt.Fprintf(&b, "In-Reply-To: <%d.letter@example.net>\r\nReferences: <%d.letter@example.net>\r\n <%d.letter@example.net>\r\n", to, to-to%7, to)
	}
	fmt.Fprintf(&b, "From: %q <user%d@example.net>\r\nTo: Ann <ann@example.test>, list%d@example.org\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: <%d.letter@example.net>\r\nMIME-Version: 1.0\r\nUser-Agent: Mozilla Thunderbird\r\n",
		l.people[from], from, i%20, subject, date, i)
	text := func(bytes int) {
		for n := 0; n < bytes; {
			line := some(9)
			b.WriteString(line + "\r\n")
			n += len(line)
		}
		fmt.Fprintf(&b, "the word zqx%dz is here\r\n", i%100)
	}
	const plain = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
	switch kind := r.IntN(100); {
	case kind < 50:
		b.WriteString(plain)
		text(500 + r.IntN(3500))
	case kind < 94:
		b.WriteString("Content-Type: multipart/alternative; boundary=\"=_alt\"\r\n\r\n--=_alt\r\n" + plain)
		text(500 + r.IntN(2500))
		b.WriteString("--=_alt\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\n<html><body>\r\n")
		for range 5 + r.IntN(60) {
			b.WriteString("<p style=\"margin:0\">" + some(9) + "</p>\r\n")
		}
		b.WriteString("</body></html>\r\n--=_alt--\r\n")
	default:
		b.WriteString("Content-Type: multipart/mixed; boundary=\"=_mix\"\r\n\r\n--=_mix\r\n" + plain)
		text(500 + r.IntN(1500))
		b.WriteString("--=_mix\r\nContent-Type: application/pdf; name=\"file.pdf\"\r\nContent-Disposition: attachment; filename=\"file.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
		n := (20000 + r.IntN(130000)) / 78 * 78
		b.WriteString(l.blob[:n])
		b.WriteString("--=_mix--\r\n")
	}
	return []byte(b.String())
}
