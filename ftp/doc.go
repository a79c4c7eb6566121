// Package ftp serves an account's tree over FTP and FTPS.
//
// The one idea: everything that a peer can see or misuse is this package's own:
// the control connection, TLS, the passive ports, the data connections, the
// replies and the listings. The library (ftpserverlib) stands behind the small
// engine interface and runs the commands that change or move files; no feature
// depends on it.
//
//	control connection --- client (one goroutine that reads lines)
//	                          |  idle: runs the command itself
//	                          |  transfer: a second goroutine runs it and what is queued behind it,
//	                          |            the first goes on reading and acts at once on ABOR and STAT
//	                          v
//	                       engine (libEngine: one FtpServer a session, fed in memory)
//	                          v
//	data connection ------ dataConn (passive slot or active dial, TLS, stall guard) <-> vfs.Tree
//
// Invariants:
//   - A command is answered exactly once and in order, however it was pipelined (ABOR and STAT excepted).
//   - An upload becomes visible only when it is proven complete, and is answered 226 only after it is durable.
//   - No path of the host and no control character of a client appears in a reply.
//   - Lines, queues, ports, buffers and waits are bounded.
//
// RFC 959, RFC 2228, RFC 2389, RFC 2428, RFC 3659, RFC 4217.
package ftp
