// Package smtp is the SMTP server: MX, submission and submissions are Options of
// one Server (RFC 5321, RFC 6409, RFC 8314).
//
// The one idea: bytes, commands and mail are three layers. wire holds the
// connection's bytes: lines in, replies out, gathered and flushed when the input
// is drained (RFC 2920). gate.go is the table of commands; it checks each line
// and answers what is wrong with it. client and transaction are the mail: who
// may send, who receives, what is stored; they know no engine. Between gate and
// client stands go-smtp (engine.go): it keeps the order of a transaction, says
// what the server can and parses the parameters of RFC 3461. Its hands never
// touch a message: DATA and BDAT are read by message, straight from wire, so that
// the end of a message is CRLF "." CRLF and nothing else.
//
// Invariants: a 250 to a message is written after storage.Deliver returned. A
// connection that ends inside a message delivers nothing. A message is delivered
// to all of its recipients or, with an error, to none. Every wait for the network
// has the deadlines of session.Conn; every other one has a time-out of its own.
//
// What comes from other servers is judged first (judge.go): spooled (spool.go),
// verified (smtp/verify, the only part that asks the DNS), weighed, perhaps
// greylisted, shown to filters (rspamd.go, milter.go), and only then written, with
// Authentication-Results in front. A DNS or filter that does not answer never gives
// a wrong verdict. Whatever became of a message is noted in the journal (note.go).
//
// RFCs: 1870, 2034, 2920, 3030, 3207, 3461, 3463, 3848, 4954, 5233, 5321, 5322,
// 6152, 6409, 6531, 7208, 7372, 7489, 8314, 8601, 8617.
package smtp
