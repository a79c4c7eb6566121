package imap

// NothingRecent returns Recents to which no message is.
func NothingRecent() *Recents {
	r := NewRecents()
	r.since = never
	return r
}

// Occupy takes all rights to work hard that a Server has, until release is called.
func (s *Server) Occupy() (release func()) {
	n := s.o.Searches
	for range n {
		<-s.heavy.wait(0)
	}
	return func() {
		for range n {
			s.heavy.give()
		}
	}
}
