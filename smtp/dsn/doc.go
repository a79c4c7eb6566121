// Package dsn writes delivery status notifications: multipart/report messages that tell a sender what became of a message
// (RFC 3464, RFC 6522; RFC 6533 for addresses beyond ASCII).
//
// The one idea: a notice is a pure function of a Message. Who is told of what is a table of its own (Wanted, RFC 3461); how the notice gets to the
// sender is its caller's matter.
//
// Invariants: what is written has lines of CRLF, none over 998 bytes, and is 7-bit, unless Info says otherwise, which depends on the sender's address and on
// Message.EightBit alone. It goes from the null sender (RFC 3461 section 6.1), so that no notice is ever answered by a notice: Wanted says no to one.
//
// RFCs: 3461, 3463, 3464, 3834, 6522, 6533.
package dsn
