// Package managesieve lets accounts manage their mail filters: RFC 5804, on port 4190.
//
// The one idea: it is a line protocol over rows of the store. A command is read whole, with its strings and literals, before anything is done; the table of commands
// says in which state it may come and how large its arguments may be. Scripts are checked by the package that runs them, so that what is stored can be run.
//
// Invariants: one goroutine a session, which waits with a small buffer. Before the login no literal is larger than a SASL response. Every wait has the deadlines of
// session.Conn. An OK is written after the change is durable.
//
// RFCs: 4422, 5804.
package managesieve
