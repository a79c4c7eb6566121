package ftp

// engine runs the commands that change or move files, for one session. It is called by the session's executor, one call at
// a time. Paths are absolute and clean. Errors are those of the tree.
type engine interface {
	// call runs CWD (only checks that there is such a folder), MKD, RMD, DELE, RNFR and RNTO, MFMT, or SITE CHMOD.
	call(verb, arg string) error
	// transfer runs RETR, STOR or APPE, and calls t.move where it would open the file.
	transfer(t *transfer) error
	close()
}
