// Package outbound delivers what is ours: it takes mail from the outbox, finds the hosts of its recipients and hands it to them over
// SMTP (RFC 5321), or LMTP (RFC 2033) where a route says so.
//
// The one idea: the outbox table is the truth. A Worker leases recipients that are due, tries them and settles each with one of five words,
// delivered, relayed, expanded, deferred or failed, together with the notices that follow from it, in one transaction. What it holds in memory
// (queues of domains, connections, hosts that are down) is a hint and may be lost at any moment: a lease that ends makes the recipient due again.
//
// From the outside in: worker leases, settle ends the lease; schedule says when to try again; a lane is the mail of one domain (or one
// smarthost), pool the connections of all; way, mx and route say which hosts, policy (sts, dane) what they must prove; deliver goes through them,
// exchange and transact speak to one; client and wire are its connection and the bytes on it; body and recode make the message fit for what it takes,
// sign and seal sign it in that form.
//
// Invariants: a recipient is settled after the reply to the end of the message, and by the words of that reply. A crash delivers at worst again
// what was under way. A resolver that does not answer is a reason to wait and never one to give up. Lines leave with CRLF, whatever is stored, and
// CRLF "." CRLF leaves once, at the end. Every wait for a peer has a deadline, every reply a largest size.
package outbound
