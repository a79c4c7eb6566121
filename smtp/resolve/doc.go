// Package resolve asks the DNS: a security-aware stub resolver on miekg/dns that everything which judges and sends mail
// shares, so that there is one cache, one bound on open questions and one opinion on what an answer means.
//
// A Resolver implements the Resolver interface of github.com/mjl-/mox/dns. Names are absolute whether they end with a dot or not:
// there is no search list and no hosts file. Names that are not ASCII are asked for by their A-labels.
//
// Every error is an *adns.DNSError, and tells these apart:
//
//   - IsNotFound: the name does not exist, or has no records of this type. The DNS said so; a verdict may be built on it.
//   - IsTemporary: nobody could say (SERVFAIL, REFUSED, broken or looping answers). Nothing may be concluded.
//   - IsTimeout, always with IsTemporary: nobody answered in time.
//
// What comes from the network is believed only from the asked server's address and port, with the id and the question that were
// sent; of its answer section only the chain of CNAMEs that begins at the question, and the records at its end.
//
// RFC 1035 (messages), RFC 2308 (negative answers), RFC 6840 section 5.7 and 5.8 (the AD bit), RFC 6891 (EDNS0), RFC 7766 (TCP),
// RFC 5452 (forged answers), RFC 8914 (extended errors).
package resolve
