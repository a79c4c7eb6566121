// Package report tells other domains what was seen of them: the mail that carries a report, its period and its name, for reports about TLS (RFC 8460, whose
// contents smtp/outbound counts) and for those of DMARC (RFC 7489 section 7.2), which are counted and written here.
//
// The one idea: results are counted in memory by what they say, added to rows of a day and domain every half minute, and told once a day. A report that was
// sent is mail in the outbox like all other, signed on its way. A crash loses the results of half a minute, or sends a report twice, with the same id.
//
// RFCs: 7489 (7.1, 7.2, appendix C), 9990 (what is said more exactly there), 8460 (5.3), 8617 (7.2.2).
package report
