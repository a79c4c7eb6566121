//go:build e2e

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// dmarcReportCheck looks at a report with the eyes of Python's own libraries, and writes its XML for xmllint. Arguments: the mail, the file to write.
const dmarcReportCheck = `
import sys, re, gzip, email, email.policy, time
import xml.etree.ElementTree as ET
m = email.message_from_bytes(open(sys.argv[1], "rb").read(), policy=email.policy.default)
assert re.fullmatch(r"Report Domain: beta\.test\s+Submitter: alpha\.test\s+Report-ID: <[!-~]+@alpha\.test>", m["Subject"]), m["Subject"]
assert m["From"].addresses[0].addr_spec == "dmarc@alpha.test" and [a.addr_spec for a in m["To"].addresses] == ["bob@beta.test", "paul@third.test"], m["To"]
assert m["Auto-Submitted"] == "auto-generated" and m["Date"].datetime and m["Message-ID"]
assert len([s for s in m.get_all("DKIM-Signature") if re.search(r"\bd=alpha\.test\b", s)]) == 2
text, report = list(m.iter_parts())
assert text.get_content_type() == "text/plain" and report.get_content_type() == "application/gzip" and report.get_content_disposition() == "attachment"
name = re.fullmatch(r"alpha\.test!beta\.test!(\d+)!(\d+)\.xml\.gz", report.get_filename())
assert name, report.get_filename()
xml = gzip.decompress(report.get_payload(decode=True))
open(sys.argv[2], "wb").write(xml)
f = ET.fromstring(xml)
assert f.tag == "feedback" and f.findtext("version") == "1.0"
md = f.find("report_metadata")
assert md.findtext("org_name") == "alpha.test" and md.findtext("email") == "dmarc@alpha.test"
assert "<" + md.findtext("report_id") + ">" in m["Subject"]
begin, end = int(md.findtext("date_range/begin")), int(md.findtext("date_range/end"))
assert (begin, end) == (int(name[1]), int(name[2])) and begin % 86400 == 0 and begin < end <= time.time()
assert ["nowhere.test" in e.text for e in md.findall("error")] == [True], [e.text for e in md.findall("error")]
p = {e.tag: e.text for e in f.find("policy_published")}
assert p == {"domain": "beta.test", "adkim": "r", "aspf": "s", "p": "reject", "sp": "quarantine", "pct": "100", "fo": "1"}, p
rows = {}
for r in f.findall("record"):
    rows[(r.findtext("row/source_ip"), r.findtext("identifiers/header_from"))] = r
assert set(rows) == {("127.0.0.12", "beta.test"), ("127.0.0.66", "beta.test"), ("127.0.0.66", "sub.beta.test")}, rows
def told(r):
    e = r.find("row/policy_evaluated")
    return [r.findtext("row/count")] + [e.findtext(k) for k in ("disposition", "dkim", "spf")] + [x.findtext("type") for x in e.findall("reason")]
good = rows[("127.0.0.12", "beta.test")]
assert told(good) == ["2", "none", "pass", "pass"], told(good)
dkim = [(d.findtext("domain"), d.findtext("result")) for d in good.findall("auth_results/dkim")]
assert dkim == [("beta.test", "pass")] * 2 and all(d.findtext("selector") for d in good.findall("auth_results/dkim")), dkim
assert [good.findtext("auth_results/spf/" + k) for k in ("domain", "scope", "result")] == ["beta.test", "mfrom", "pass"]
assert good.findtext("identifiers/envelope_from") == "beta.test"
bad = rows[("127.0.0.66", "beta.test")]
assert told(bad) == ["1", "reject", "fail", "fail"], told(bad)
assert bad.findtext("identifiers/envelope_from") == "evil.test" and not bad.findall("auth_results/dkim") and bad.findtext("auth_results/spf/result") == "none"
sub = rows[("127.0.0.66", "sub.beta.test")]
assert told(sub) == ["1", "quarantine", "fail", "fail"], told(sub)
assert sub.find("identifiers/envelope_from").text is None and sub.findtext("auth_results/spf/scope") == "helo"
`

// TestEndToEndDMARCReports: alpha tells beta what it got in its name, at the addresses that agreed to it; Postfix's OpenDKIM looks at the signature.
func TestEndToEndDMARCReports(t *testing.T) {
	base := freeBase(t)
	w := newWorld(t, base)
	w.alpha = w.boat("alpha.test", alphaHost, base, "--set", "reports.from=dmarc@alpha.test", "--set", "outbound.tls_reports=off")
	w.beta = w.boat("beta.test", betaHost, base, "--set", "outbound.tls_reports=off")
	w.settle()
	w.dns.Text("_dmarc.beta.test", "v=DMARC1; p=reject; sp=quarantine; aspf=s; fo=1; rua=mailto:bob@beta.test!10m, mailto:dmarc@third.test, mailto:x@nowhere.test, mailto:joe@beta.test!1k")
	w.dns.Text("beta.test._report._dmarc.third.test", "v=DMARC1; rua=mailto:paul@third.test")
	spoof := func(from, author string) string {
		out, _ := w.alpha.client("", "swaks", "--server", alphaHost, "--port", w.alpha.port(25), "--local-interface", "127.0.0.66", "--helo", "mail.evil.test",
			"--from", from, "--to", "ann@alpha.test", "--h-From", author, "--h-Subject", "spoofed", "--timeout", "20")
		return out
	}
	for i := range 2 {
		subject := fmt.Sprintf("genuine-%d", i)
		w.mail(w.beta, "bob@beta.test", joePassword, "ann@alpha.test", subject)
		w.alpha.message(t, "ann@alpha.test", annPassword, subject)
	}
	contains(t, spoof("x@evil.test", "bob@beta.test"), "550 5.7.1")
	contains(t, spoof("<>", "joe@sub.beta.test"), "250 2.0.0")
	w.mail(w.alpha, "ann@alpha.test", annPassword, "carl@alpha.test", "among-us") // nobody's business
	w.alpha.message(t, "carl@alpha.test", annPassword, "among-us")

	var list []reportJSON
	w.alpha.json(&list, "report", "list")
	var counted []string
	for _, r := range list {
		counted = append(counted, fmt.Sprint(r.Kind, " ", r.Domain, " ", r.Count))
	}
	if got := strings.Join(counted, ", "); got != "dmarc beta.test 4" {
		t.Errorf("counted: %s", got)
	}
	contains(t, w.alpha.run("", "report", "send", "beta.test"), "bob@beta.test, paul@third.test", "nowhere.test does not say")
	m := w.beta.message(t, "bob@beta.test", joePassword, "Report Domain: beta.test")
	contains(t, field(t, m, "Authentication-Results"), "dkim=pass", "dmarc=pass", "spf=pass", "header.from=alpha.test")
	contains(t, w.third.message("paul", "Report Domain: beta.test"), "Authentication-Results: mx.third.test", "dkim=pass", "header.d=alpha.test", "application/gzip")
	dir := t.TempDir()
	xml := filepath.Join(dir, "xml")
	w.beta.checked(t, dmarcReportCheck, writeOwn(t, filepath.Join(dir, "mail"), m), xml)
	schema, err := filepath.Abs("testdata/dmarc.xsd")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := w.beta.client("", "xmllint", "--noout", "--nonet", "--schema", schema, xml); err != nil {
		t.Errorf("%v\n%s", err, out)
	}

	// What came to beta is a report: beta counts it, and does not answer it with one.
	contains(t, w.beta.run("", "report", "list"), "alpha.test")
	contains(t, w.beta.run("", "report", "send", "--all"), "There is nothing to report.")
	contains(t, w.alpha.run("", "report", "send", "--all"), "There is nothing to report.")

	// Who uses alpha's own name is told to alpha.
	w.dns.Text("_dmarc.alpha.test", "v=DMARC1; p=reject; rua=mailto:ann@alpha.test")
	contains(t, spoof("x@evil.test", "ann@alpha.test"), "550 5.7.1")
	contains(t, w.alpha.run("", "report", "send", "alpha.test"), "ann@alpha.test")
	contains(t, w.alpha.message(t, "ann@alpha.test", annPassword, "Report Domain: alpha.test"), "From: \"DMARC reports\" <dmarc@alpha.test>", "filename=\"alpha.test!alpha.test!")
}
