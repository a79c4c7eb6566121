// Package outbound delivers what is ours: it takes mail from the outbox, finds the hosts of its recipients and hands it to them over
// SMTP (RFC 5321), or LMTP (RFC 2033) where a route says so.
//
// The one idea: the outbox table is the truth. A Worker leases recipients that are due, tries them and settles each with one of four words,
// delivered, relayed, deferred or failed, together with the notices that follow from it, in one transaction. What it holds in memory
// (queues of domains, connections, hosts that are down) is a hint and may be lost at any moment: a lease that ends makes the recipient due again.
//
// From the outside in: worker leases and settles; schedule says when to try again; lane is one domain (or one
// smarthost) with its connections; mx and route say which hosts; tls how they must be spoken to; client speaks to one of them;
// wire holds the connection's bytes; body makes the message fit for what the peer takes.
//
// Invariants: a recipient is settled after the reply to the end of the message, and by the words of that reply. A crash delivers at worst again
// what was under way. A resolver that does not answer is a reason to wait and never one to give up. Lines leave with CRLF, whatever is stored, and
// CRLF "." CRLF leaves once, at the end. Every wait for a peer has a deadline, every reply a largest size.
package outbound
