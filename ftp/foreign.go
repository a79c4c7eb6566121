package ftp

import (
	"bytes"
	"errors"
	"strings"
)

// errForeign is why a session with another protocol's client ends.
var errForeign = errors.New("not an FTP client")

// foreign tells of a command that is not ours whether the peer speaks another protocol: HTTP (a browser that was made to post to this port),
// RTSP, SIP, TLS in the clear or within TLS, SSH, SMTP, IMAP, POP. The next lines of such a peer are not its own words, so none is looked at.
func foreign(verb, arg string) bool {
	switch verb {
	case "GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PRI",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH", "INVITE", "DESCRIBE":
		return true
	case "EHLO", "HELO", "LHLO", "STARTTLS", "RCPT", "CAPA", "STLS":
		return true
	}
	if helloBegins([]byte(verb)) || strings.HasPrefix(verb, "SSH-") || len(verb) > 1 && strings.Contains(verb, ":") { // Host: and other header fields
		return true
	}
	first, _, _ := strings.Cut(strings.ToUpper(arg), " ")
	switch first { // behind an IMAP tag
	case "CAPABILITY", "LOGIN", "AUTHENTICATE", "STARTTLS", "NAMESPACE", "SELECT":
		return true
	}
	i := strings.LastIndexByte(arg, ' ') + 1
	for _, protocol := range []string{"HTTP/", "RTSP/", "SIP/"} {
		if strings.HasPrefix(strings.ToUpper(arg[i:]), protocol) {
			return true
		}
	}
	return false
}

// helloBegins tells whether b is the beginning of a TLS handshake record (RFC 8446 section 5.1).
func helloBegins(b []byte) bool { return bytes.HasPrefix(b, []byte{0x16, 3}) }

// hangUpForeign refuses with one answer, which repeats nothing of what the peer said, and closes at once. What else it sends is taken
// from the socket, so that the answer gets there.
func (c *client) hangUpForeign(verb string) {
	verb, _, _ = strings.Cut(verb, ":") // what is behind may be a password
	c.log.Info(errForeign.Error(), "verb", oneLine(verb[:min(len(verb), 16)]))
	c.reply(500, "This is an FTP server.")
	c.hangUp(errForeign.Error())
	c.sess.Kill(errForeign)
}
