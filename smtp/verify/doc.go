// Package verify finds out who a message is from: SPF (RFC 7208) of MAIL FROM and HELO, DKIM (RFC 6376, 8301, 8463), DMARC (RFC 7489), ARC
// (RFC 8617), the name of the client's address (iprev, RFC 8601 section 3) and what block and allow lists say of it (RFC 5782).
//
// A Verifier asks everything side by side within one time-out. What comes out is a Result and never an error: each part has a status of its
// own, and temperror wherever the DNS did not answer, so that a dead resolver is told from a forged sender. Result.Temporary tells whether
// such a gap leaves open what DMARC asks to be done with the message. What is done, others decide.
//
// Bodies are read through io.ReaderAt once, in blocks, and only when a signature over the header holds; the number of signatures, addresses, hosts and
// questions that a sender can cause is bounded.
//
// Result.Field writes the Authentication-Results field (RFC 8601); nothing in it lets a client write outside of its value. Claims finds those
// that others wrote in our name.
package verify
