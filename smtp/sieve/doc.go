// Package sieve reads and runs accounts' mail filters: RFC 5228 and the extensions that Extensions lists.
//
// The one idea: a script is compiled once, to closures that have been checked, and then says for each message what is to be done; it does nothing itself. What
// runs is bounded by counting: each command, test, comparison and copied byte costs steps (Limits.Steps), nothing waits, and no pattern can backtrack
// further than its text times its length. So a run needs no goroutine and no clock, and the same script does the same everywhere.
//
// Invariants: Run never panics and never fails halfway: with an error it returns the implicit keep (RFC 5228 section 2.10.6), so that no script can lose a message. A
// Script may be run by any number of goroutines at a time.
//
// RFCs: 3894, 4790, 5051, 5173, 5183, 5228, 5229, 5230, 5231, 5232, 5233, 5260, 5429, 5463, 5490, 6131, 7352.
package sieve
