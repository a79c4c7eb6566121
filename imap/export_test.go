package imap

// NothingRecent returns Recents to which no message is.
func NothingRecent() *Recents {
	r := NewRecents()
	r.since = never
	return r
}
