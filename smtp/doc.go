// Package smtp is the SMTP server: MX, submission, submissions and LMTP are Options
// of one Server (RFC 5321, RFC 6409, RFC 8314, RFC 2033).
//
// The one idea: bytes, commands and mail are three layers. wire holds the
// connection's bytes: lines in, replies out, gathered and flushed when the input
// is drained (RFC 2920). gate.go is the table of commands; it checks each line
// and answers what is wrong with it. client and transaction are the mail: who
// may send, who receives, what is stored; they know no engine. Between gate and
// client stands go-smtp (engine.go): it has the connection's goroutine and keeps
// the order of a transaction. What EHLO offers and what the parameters say is ours
// (params.go: a table; what is not offered to a client is not known from it). Its
// hands never touch a message: DATA and BDAT are read by message, straight from wire,
// so that the end of a message is CRLF "." CRLF and nothing else.
//
// Invariants: a 250 to a message is written after storage.Enqueue returned. A
// connection that ends inside a message delivers nothing. A message is delivered
// to all of its recipients or, with an error, to none; in LMTP each recipient has an
// answer of its own. Every wait for the network
// has the deadlines of session.Conn; every other one has a time-out of its own.
//
// What comes from other servers is judged first (judge.go): spooled (spool.go),
// verified (smtp/verify, the only part that asks the DNS), weighed, perhaps
// greylisted, shown to filters (rspamd.go, milter.go), and only then written, with
// Authentication-Results in front. A DNS or filter that does not answer never gives
// a wrong verdict. Whatever became of a message is noted in the journal (note.go).
//
// RFCs: 1870, 2033, 2034, 2852, 2920, 3030, 3207, 3461, 3463, 3848, 4865, 4954,
// 5233, 5321, 5322, 6152, 6409, 6531, 6533, 6710, 7208, 7293, 7372, 7489, 8314, 8601,
// 8617, 8689, 9422.
package smtp
