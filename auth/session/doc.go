// Package session knows who is connected. Every TCP connection of every
// listener, and every one that Dial makes, is one Session, from accept (before TLS, before any library sees
// the connection) until its socket is closed. What a protocol knows of its
// session is a client of it; the protocols look their session up with From and
// tell it what they do.
//
// The one idea: the connection that Listen hands out carries its session, and
// its RemoteAddr does too, so that the session is found through a *tls.Conn and
// through libraries that show no more than an address.
//
// What a protocol does:
//
//	ln = registry.Listen(ln, ...)           its Accept returns connections within the limits
//	s := session.From(conn)
//	t, err := session.Handshake(...)        for TLS, at once or on STARTTLS
//	s.Begin("SELECT INBOX") ... s.Done()    around each command; within one, s.Context() says when to stop
//	s.Ending()                              between commands, and when a Read gives os.ErrDeadlineExceeded: say goodbye and close
//	s.Park("IDLE INBOX")                    within a command that only waits
//	s.SetEnd("logout"); conn.Close()
//
// Dial makes connections of ours to peers, which are sessions too.
//
// What holds:
//
//   - A session is in the list before Accept returns it and until its socket is closed; History hears of each one once.
//   - A session that was told to end is closed when its grace is over, whatever the protocol does.
//   - Drain lets a command finish; every other cause interrupts it.
//   - A session has no goroutine and no timer of its own. One timer of the registry's serves all that is
//     absolute (login, whole duration, grace); idle and stalled are deadlines of the socket.
//   - Locks are taken in the order Registry, Session, alarm; none is held while a socket may block.
//
// Package session imports nothing of ours.
package session
