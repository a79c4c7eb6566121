package dsn

import (
	"strings"
	"time"
)

// human is the first part: for people.
func (c *composer) human() {
	var b strings.Builder
	b.WriteString("This is the mail server " + c.m.Reporter + ".\r\n")
	for _, a := range []Action{Failed, Delayed, Delivered, Relayed, Expanded} {
		c.section(&b, a)
	}
	if c.m.Queue != "" {
		b.WriteString("\r\nHere your message is known as " + c.m.Queue + ".")
		b.WriteString(" What follows is a report for machines,\r\nand behind it your message or its header.\r\n")
	}
	text := b.String()
	encoding, charset := encodingOf(text), "us-ascii"
	if !ascii(text) {
		charset = "utf-8"
	}
	c.part("text/plain; charset="+charset, encoding, "Content-Description: Notification")
	c.text(encoding, text)
}

var introductions = map[Action]string{
	Failed:    "Your message could not be delivered to the following address, and is not\r\ntried again.\r\n",
	Delayed:   "Your message could not be delivered to the following address yet. You need\r\nnot send it again: this server goes on trying.\r\n",
	Delivered: "Your message was delivered, as you asked to be told:\r\n",
	Relayed:   "Your message was passed on to a mail server that does not confirm deliveries,\r\nso that you may hear no more of it:\r\n",
	Expanded:  "Your message was passed on to the members of a list, of whom nothing more will\r\nbe told:\r\n",
}

// section tells of all recipients with an action.
func (c *composer) section(b *strings.Builder, a Action) {
	begun := false
	for i := range c.m.Recipients {
		r := &c.m.Recipients[i]
		if r.Action != a {
			continue
		}
		if !begun {
			b.WriteString("\r\n" + introductions[a])
			begun = true
		}
		c.one(b, r)
	}
}

// one tells of a recipient.
func (c *composer) one(b *strings.Builder, r *Recipient) {
	b.WriteString("\r\n  <" + oneLine(r.Address) + ">\r\n")
	if a := originalAddress(r.Original); a != "" && !strings.EqualFold(a, r.Address) {
		b.WriteString("    to which it came by " + a + "\r\n")
	}
	if reply := oneLine(r.Reply); reply != "" {
		who := oneLine(r.Remote)
		if who == "" {
			who = "Its mail server"
		}
		wrap(b, who+" said:")
		wrap(b, reply)
	}
	if why := oneLine(r.Why); why != "" {
		wrap(b, why)
	}
	if r.Action == Delayed && !r.WillRetryUntil.IsZero() {
		wrap(b, "It is tried until "+r.WillRetryUntil.In(zone(c.now)).Format("Monday, 2 January 2006, 15:04 MST")+".")
	}
	if r.Action == Failed {
		wrap(b, advice(r.status()))
	}
}

func zone(t time.Time) *time.Location { return t.Location() }

func originalAddress(orcpt string) string {
	_, a, ok := strings.Cut(orcpt, ";")
	if !ok {
		a = orcpt
	}
	return oneLine(fromUnitext(strings.TrimSpace(a)))
}

// advices say what can be done, by the end of the status (RFC 3463): the longest that fits.
var advices = map[string]string{
	"1.1":  "There is no such address. Please look whether it is written right.",
	"1.2":  "There is no such domain, or it takes no mail. Please look whether the address is written right.",
	"1.3":  "The address is not written as addresses are. Please look at it again.",
	"1.6":  "The mailbox has moved. Please ask for the new address.",
	"1.10": "The domain takes no mail at all. Please look whether the address is written right.",
	"1":    "Something is wrong with the address. Please look at it again.",
	"2.1":  "The mailbox takes no mail at present. Please ask its owner in another way.",
	"2.2":  "The mailbox is full. Please send the message later, or tell its owner in another way.",
	"2.3":  "The message is larger than the mailbox takes. Please send it in a smaller form.",
	"3.4":  "The message is larger than the other server takes. Please send it in a smaller form.",
	"4.1":  "The other server did not answer for days. Please send the message later, or tell its recipient in another way.",
	"4.7":  "The other server did not take it in the time that this one tries. Please send the message later.",
	"4":    "The way to the other server is broken. Please send the message later, or ask your administrator.",
	"6.7":  "The other server does not know addresses with such characters. Please use another address of the recipient.",
	"6":    "The other server does not take a message of this form.",
	"7.1":  "The other server does not take this message from you. Its words may say why; its administrator can tell more.",
	"7":    "The other server refuses it by its rules. Its words may say why; its administrator can tell more.",
	"":     "If the words above do not help, ask your administrator, and show this message.",
}

func advice(status string) string {
	_, detail, _ := strings.Cut(status, ".")
	subject, _, _ := strings.Cut(detail, ".")
	for _, key := range []string{detail, subject} {
		if a, ok := advices[key]; ok {
			return a
		}
	}
	return advices[""]
}

// wrap writes a paragraph in lines of at most 76 characters, as far as its words allow.
func wrap(b *strings.Builder, s string) {
	line := "   "
	for word := range strings.FieldsSeq(s) {
		if len(line)+1+len(word) > fold && strings.TrimSpace(line) != "" {
			b.WriteString(line + "\r\n")
			line = "   "
		}
		line += " " + word
	}
	b.WriteString(line + "\r\n")
}
