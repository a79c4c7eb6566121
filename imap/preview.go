package imap

var (
	namePreview  = []byte("PREVIEW")
	nameThreadID = []byte("THREADID")
)

// ready has what the answer needs at hand before it begins.
func (f *fetcher) ready() (err error) {
	if f.o.ThreadID {
		if f.thread, err = f.srv.store.Thread(f.ctx(), f.mail); err != nil {
			return err
		}
	}
	if f.o.Preview && f.mail.Preview == nil && !f.o.PreviewLazy {
		if f.mail.Preview, err = f.srv.store.Preview(f.ctx(), f.entry.Blob); err != nil {
			return err
		}
	}
	return f.open()
}

// preview gives PREVIEW (RFC 8970 section 3.2). What was worked out when the message was stored comes at once; of an older message that has
// none yet it is NIL when the client is not willing to wait.
func (f *fetcher) preview() {
	f.item(namePreview)
	if f.mail.Preview == nil {
		f.e.Raw("NIL")
		return
	}
	f.e.String(string(f.mail.Preview))
}

// threadID gives THREADID (RFC 8474 section 5.3).
func (f *fetcher) threadID() {
	f.item(nameThreadID)
	f.e.Set(append(appendThreadID(append(f.e.Buf(), '('), f.thread), ')'))
}
