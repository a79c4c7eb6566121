//go:build e2e

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// posted is what came to a site.
type posted struct {
	kind string
	body []byte
}

// site is a web server of the test on an address of loopback, with a certificate, that tells what is posted to it.
func site(t *testing.T, address, cert, key string) <-chan posted {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan posted, 10)
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPost && r.URL.Path == "/tls" {
			got <- posted{r.Header.Get("Content-Type"), body}
		}
	})}
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(ln) }()
	t.Cleanup(func() { s.Close(); <-done })
	return got
}

// checked runs a script of Python over files; m is what is in the first.
func (b *boat) checked(t *testing.T, script string, files ...string) {
	t.Helper()
	out, err := b.client(script, "python3", append([]string{"-"}, files...)...)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
		for _, f := range files {
			text, _ := os.ReadFile(f)
			t.Logf("%s:\n%.6000s", f, text)
		}
	}
}

// tlsReportCheck looks at a report by mail (the first file) and one by HTTPS (the second) with the eyes of Python's own libraries.
const tlsReportCheck = `
import sys, re, json, gzip, email, email.policy, datetime
m = email.message_from_bytes(open(sys.argv[1], "rb").read(), policy=email.policy.default)
assert m.get_content_type() == "multipart/report" and m["Content-Type"].params["report-type"] == "tlsrpt", m["Content-Type"]
assert re.fullmatch(r"Report Domain: beta\.test\s+Submitter: alpha\.test\s+Report-ID: <[!-~]+@alpha\.test>", m["Subject"]), m["Subject"]
assert m["TLS-Report-Domain"] == "beta.test" and m["TLS-Report-Submitter"] == "alpha.test" and m["TLS-Required"] == "No"
assert m["From"].addresses[0].addr_spec == "reports@alpha.test", m["From"]
assert m["Date"].datetime and m["Message-ID"] and m["MIME-Version"] == "1.0"
signed = [s for s in m.get_all("DKIM-Signature") if re.search(r"\bd=alpha\.test\b", s)]
assert len(signed) == 2, signed
text, report = list(m.iter_parts())
assert text.get_content_type() == "text/plain"
assert report.get_content_type() == "application/tlsrpt+gzip" and report.get_content_disposition() == "attachment"
name = re.fullmatch(r"alpha\.test!beta\.test!(\d+)!(\d+)\.json\.gz", report.get_filename())
assert name, report.get_filename()
raw = report.get_payload(decode=True)
assert raw == open(sys.argv[2], "rb").read(), "what was posted is another report"
r = json.loads(gzip.decompress(raw))
assert set(r) == {"organization-name", "date-range", "contact-info", "report-id", "policies"}, r
assert r["organization-name"] == "alpha.test" and r["contact-info"] == "reports@alpha.test"
assert "<" + r["report-id"] + ">" in m["Subject"]
begin, end = (datetime.datetime.fromisoformat(r["date-range"][k]) for k in ("start-datetime", "end-datetime"))
assert (int(begin.timestamp()), int(end.timestamp())) == (int(name[1]), int(name[2])), (begin, end, name[0])
assert begin.hour == begin.minute == begin.second == 0 and begin < end <= datetime.datetime.now(datetime.timezone.utc)
by = {p["policy"]["policy-type"]: p for p in r["policies"]}
sts = by.pop("sts")
assert sts["policy"]["policy-domain"] == "beta.test" and sts["policy"]["mx-host"] == ["mail.beta.test"], sts
assert [l.split(":")[0] for l in sts["policy"]["policy-string"]][:1] == ["version"] and "mode: enforce" in sts["policy"]["policy-string"], sts
s = sts["summary"]
assert s["total-successful-session-count"] >= 1 and s["total-failure-session-count"] >= 1, s
kinds = {}
for f in sts["failure-details"]:
    kinds[f["result-type"]] = kinds.get(f["result-type"], 0) + f["failed-session-count"]
    if f["result-type"] == "starttls-not-supported":
        assert f["sending-mta-ip"] == "127.0.0.11" and f["receiving-ip"] == "127.0.0.14" and f["receiving-mx-hostname"] == "mail.beta.test", f
assert sum(kinds.values()) == s["total-failure-session-count"] and set(kinds) == {"starttls-not-supported", "validation-failure"}, kinds
`

// daneReportCheck looks at one that was posted (the first file) about TLSA records that the certificate is none of.
const daneReportCheck = `
import sys, json, gzip
r = json.loads(gzip.decompress(open(sys.argv[1], "rb").read()))
by = {p["policy"]["policy-type"]: p for p in r["policies"]}
tlsa = by["tlsa"]
assert tlsa["policy"]["policy-domain"] == "mail.beta.test" and tlsa["policy"]["policy-string"] == ["3 1 1 " + "ab" * 32], tlsa
s = tlsa["summary"]
assert s["total-successful-session-count"] == 0 and s["total-failure-session-count"] >= 1, s
assert {f["result-type"] for f in tlsa["failure-details"]} == {"validation-failure"} and sum(f["failed-session-count"] for f in tlsa["failure-details"]) == s["total-failure-session-count"], tlsa
assert all(f["receiving-mx-hostname"] == "mail.beta.test" and f["receiving-ip"] == "127.0.0.12" for f in tlsa["failure-details"]), tlsa
`

// TestEndToEndTLSReports: alpha reports to beta, whose record asks for it, how TLS went: by mail to beta and to Postfix, whose OpenDKIM looks at the signature, and by HTTPS.
func TestEndToEndTLSReports(t *testing.T) {
	const middle = "127.0.0.14"
	base := freeBase(t)
	w := newWorld(t, base)
	ca, cert, key, _ := ownCA(t, "mail.beta.test", "mta-sts.beta.test", "reports.beta.test", "localhost")
	w.beta = w.boat("beta.test", betaHost, base, "--set", "tls.cert="+cert, "--set", "tls.key="+key, "--set", "mta_sts.mode=enforce")
	w.alpha = w.boat("alpha.test", alphaHost, base, "--set", "outbound.ca="+ca, "--set", fmt.Sprintf("outbound.mta_sts_port=%d", base+443),
		"--set", "dns.trust_ad=on", "--set", "reports.from=reports@alpha.test", "--set", "reports.private_addresses=on")
	text, err := os.ReadFile(ca)
	if err != nil || os.MkdirAll(filepath.Dir(w.beta.ca()), 0o700) != nil {
		t.Fatal(err)
	}
	writeOwn(t, w.beta.ca(), string(text))
	w.settle()
	w.dns.Remove("mta-sts.beta.test", "CNAME")
	w.dns.Set("mta-sts.beta.test. A " + betaHost + "\nreports.beta.test. A 127.0.0.1")
	w.dns.Text("_smtp._tls.beta.test", fmt.Sprintf("v=TLSRPTv1; rua=mailto:bob@beta.test,mailto:paul@third.test,https://reports.beta.test:%d/tls", base+1199))
	posts := site(t, fmt.Sprintf("127.0.0.1:%d", base+1199), cert, key)
	clearServer(t, fmt.Sprintf("%s:%d", middle, w.port))
	anew := func() { w.alpha.stop(); w.alpha.start() } // what it found holds for half a minute
	send := func(subject string) {
		t.Helper()
		w.mail(w.alpha, "ann@alpha.test", annPassword, "bob@beta.test", subject)
	}
	waits := func(why string) {
		t.Helper()
		eventually(t, "the queue says "+why, func() bool { return strings.Contains(w.alpha.run("", "queue", "list"), why) })
	}

	send("by-policy")
	w.beta.message(t, "bob@beta.test", joePassword, "by-policy")
	w.dns.Set("mail.beta.test. A " + middle)
	anew()
	send("stripped")
	waits("does not offer STARTTLS")
	w.dns.Set("mail.beta.test. A " + betaHost + "\nbeta.test. MX 10 mail.evil.test.\nmail.evil.test. A " + middle)
	anew()
	send("wrong-host")
	waits("none of the hosts that the MTA-STS policy")
	w.dns.Set("beta.test. MX 10 mail.beta.test.")
	anew()

	var list []reportJSON
	w.alpha.json(&list, "report", "list")
	if len(list) != 1 || list[0].Kind != "tls" || list[0].Domain != "beta.test" || list[0].Count < 3 {
		t.Fatalf("counted: %+v", list)
	}
	contains(t, w.alpha.run("", "report", "send", "beta.test"), "bob@beta.test, paul@third.test, https://reports.beta.test")
	if w.alpha.json(&list, "report", "list"); len(list) != 0 {
		t.Errorf("not forgotten: %+v", list)
	}
	m := w.beta.message(t, "bob@beta.test", joePassword, "Report Domain: beta.test")
	contains(t, field(t, m, "Authentication-Results"), "dkim=pass", "dmarc=pass", "spf=pass", "header.from=alpha.test")
	contains(t, m, "Return-Path: <reports@alpha.test>", "with ESMTPS id")
	contains(t, w.third.message("paul", "Report Domain: beta.test"), "Authentication-Results: mx.third.test", "dkim=pass", "header.d=alpha.test", "application/tlsrpt+gzip")
	select {
	case p := <-posts:
		if p.kind != "application/tlsrpt+gzip" {
			t.Errorf("posted as %s", p.kind)
		}
		dir := t.TempDir()
		w.beta.checked(t, tlsReportCheck, writeOwn(t, filepath.Join(dir, "mail"), m), writeOwn(t, filepath.Join(dir, "posted"), string(p.body)))
	case <-time.After(10 * time.Second):
		t.Error("nothing was posted")
	}
	contains(t, w.alpha.run("", "report", "send", "beta.test"), "There is nothing to report.")

	w.dns.Authentic(true)
	w.dns.Set(fmt.Sprintf("_%d._tcp.mail.beta.test. TLSA 3 1 1 %s", w.port, strings.Repeat("ab", 32)))
	anew()
	send("not-by-dane")
	waits("TLS:")
	contains(t, w.alpha.run("", "report", "send", "beta.test"), "https://reports.beta.test")
	select {
	case p := <-posts:
		w.beta.checked(t, daneReportCheck, writeOwn(t, filepath.Join(t.TempDir(), "posted"), string(p.body)))
	case <-time.After(10 * time.Second):
		t.Error("nothing was posted")
	}
}

// lateServer is a mail server that puts every recipient off, and counts how often. It ends behind alpha.
func (w *world) lateServer(address string) *atomic.Int64 {
	t := w.t
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	var work sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "220 mx.late.test ESMTP\r\n")
		for in := bufio.NewScanner(c); in.Scan(); {
			switch word, _, _ := strings.Cut(strings.ToUpper(in.Text()), " "); word {
			case "RCPT":
				tries.Add(1)
				fmt.Fprint(c, "451 4.3.2 not before tomorrow\r\n")
			case "DATA":
				fmt.Fprint(c, "503 5.5.1 no recipients\r\n")
			case "QUIT":
				fmt.Fprint(c, "221 2.0.0 bye\r\n")
				return
			default:
				fmt.Fprint(c, "250 mx.late.test\r\n")
			}
		}
	}
	work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			work.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { ln.Close(); w.alpha.stop(); work.Wait() })
	return &tries
}

// noticeCheck looks at a notice (RFC 3464) with the eyes of Python's own library. Arguments: the file, the action, the status, the subject of the message.
const noticeCheck = `
import sys, re, email, email.policy, email.utils
file, action, status, subject = sys.argv[1:]
m = email.message_from_bytes(open(file, "rb").read(), policy=email.policy.default)
assert m["Return-Path"] == "<>" and m["Auto-Submitted"] == "auto-replied", m.items()
assert m["To"].addresses[0].addr_spec == "ann@alpha.test" and m["Date"].datetime and m["Message-ID"]
assert m.get_content_type() == "multipart/report" and m["Content-Type"].params["report-type"] == "delivery-status"
parts = list(m.iter_parts())
assert [p.get_content_type() for p in parts[:2]] == ["text/plain", "message/delivery-status"] and len(parts) == 3, parts
assert parts[2].get_content_type() == ("message/rfc822" if action == "failed" and subject != "by-the-letter" else "text/rfc822-headers") # RET is about failures
assert subject in parts[2].as_string() and "nobody@late.test" in parts[0].get_content()
groups = parts[1].get_payload()
assert len(groups) == 2, groups
msg, rcpt = groups
assert msg["Reporting-MTA"] == "dns; mail.alpha.test", msg.items()
assert email.utils.parsedate_to_datetime(msg["Arrival-Date"])
assert (msg["Original-Envelope-Id"], rcpt["Original-Recipient"]) == (("env 17", "rfc822; somebody@late.test") if subject == "by-the-letter" else (None, None)), msg.items() + rcpt.items()
assert rcpt["Final-Recipient"] == "rfc822; nobody@late.test" and rcpt["Action"] == action and rcpt["Status"] == status, rcpt.items()
assert rcpt["Remote-MTA"].startswith("dns; mx.late.test") and rcpt["Diagnostic-Code"].startswith("smtp; 451 4.3.2"), rcpt.items()
assert email.utils.parsedate_to_datetime(rcpt["Last-Attempt-Date"])
until = rcpt["Will-Retry-Until"]
assert (until is not None) == (action == "delayed"), until
if until:
    assert email.utils.parsedate_to_datetime(until) > email.utils.parsedate_to_datetime(msg["Arrival-Date"])
`

// TestEndToEndLate: mail to a server that always puts it off. The sender hears once that it waits, and in the end that it failed.
func TestEndToEndLate(t *testing.T) {
	const late = "127.0.0.15"
	base := freeBase(t)
	w := newWorld(t, base)
	w.alpha = w.boat("alpha.test", alphaHost, base, "--set", "outbound.retry=1s", "--set", "outbound.delay_notice=2s", "--set", "outbound.expire=7s")
	w.account(w.alpha, "ann@alpha.test", annPassword)
	w.dns.Set("late.test. MX 10 mx.late.test.\nmx.late.test. A " + late)
	tries := w.lateServer(fmt.Sprintf("%s:%d", late, w.port))
	w.alpha.python(t, `
import smtplib
s = smtplib.SMTP("`+alphaHost+`", PORT+587); s.starttls(context=ssl._create_unverified_context()); s.login("ann@alpha.test", ANN)
for subject, mail, rcpt in (("all-told", [], []), ("failure-alone", [], ["NOTIFY=FAILURE"]), ("never-told", [], ["NOTIFY=NEVER"]),
        ("by-the-letter", ["RET=HDRS", "ENVID=env+2017"], ["NOTIFY=FAILURE,DELAY", "ORCPT=rfc822;somebody@late.test"])):
    s.sendmail("ann@alpha.test", ["nobody@late.test"], "From: ann@alpha.test\r\nSubject: %s\r\n\r\nx\r\n" % subject, mail, rcpt)
s.quit()
`)
	eventually(t, "the queue tells why it waits", func() bool {
		return strings.Contains(w.alpha.run("", "queue", "list"), "not before tomorrow")
	})
	check := func(key, action, status, subject string) {
		t.Helper()
		m := w.alpha.found(t, "ann@alpha.test", annPassword, "INBOX", fmt.Sprintf(`TEXT "Action: %s" TEXT "%s"`, action, subject))
		w.alpha.checked(t, noticeCheck, []string{writeOwn(t, filepath.Join(t.TempDir(), key), m), action, status, subject}...)
	}
	check("delayed", "delayed", "4.3.2", "all-told")
	check("failed", "failed", "4.4.7", "all-told")
	check("failure", "failed", "4.4.7", "failure-alone")
	check("delayed2", "delayed", "4.3.2", "by-the-letter")
	check("failed2", "failed", "4.4.7", "by-the-letter")
	eventually(t, "the queue is empty", func() bool { return !strings.Contains(w.alpha.run("", "queue", "list"), "late.test") })
	if n := strings.TrimSpace(w.alpha.python(t, `
import imaplib
c = imaplib.IMAP4("`+alphaHost+`", PORT+143); c.starttls(ssl._create_unverified_context()); c.login("ann@alpha.test", ANN); c.select("INBOX", readonly=True)
print(*[len(c.search(None, "TEXT", '"%s"' % w)[1][0].split()) for w in ("Action: delayed", "Action: failed", "never-told")])
`)); n != "2 3 0" {
		t.Errorf("notices of delay, of failure, and to who wants none: %s, want 2 3 0", n)
	}
	if n := tries.Load(); n < 12 {
		t.Errorf("it was tried %d times, with a schedule of a second over seven, for four messages", n)
	}
}
