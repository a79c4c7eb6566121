// Package console is the HTTP listener: what mail clients ask for when they set themselves up (Thunderbird's autoconfig, Outlook's
// Autodiscover, Apple's configuration profiles), the MTA-STS policy that other servers ask for, a page for people, and /health. It is
// also where the administrator's console (login by cookie, JSON API, live view, metrics) will live.
//
// The one idea: a document is a row of a table (routes.go) that says under which path it is found, with which methods, and whether in
// clear or only over TLS; what it says comes from Options alone, the same facts that `packetboat domain dns` makes DNS records of.
//
// What holds:
//
//   - Each connection is a session of the registry, in the list with its path, and ends when the registry says so. A request is a command.
//   - No answer depends on whether an address exists: what is asked for joe is what is asked for nobody. Domains that are not ours are 404.
//   - No request has a body but Autodiscover's, of at most 16 KiB, in which nesting is bounded and no entity is declared.
//   - Nothing is read from disk, and nothing waits for anybody but the client, which has a deadline for each step.
//
// RFC 9110 (HTTP), RFC 8461 (MTA-STS), RFC 8615 (/.well-known/); autoconfig, Autodiscover (MS-OXDSCLI) and profiles are their makers' formats.
package console
