// Package session knows who is connected. Every TCP connection of every
// listener is one Session, from accept (before TLS, before any library sees
// the connection) until its socket is closed. What a protocol knows of its
// session is a client of it; the protocols look their session up with From and
// tell it what they do.
//
// The one idea: the connection that Listen hands out carries its session, and
// its RemoteAddr does too, so that the session is found through a *tls.Conn and
// through libraries that show no more than an address.
//
// Package session imports nothing of ours.
package session
