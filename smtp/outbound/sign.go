package outbound

import (
	"context"
	"io"
	"log/slog"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// SignOptions of a Signer; the zero value is usable.
type SignOptions struct {
	Logger *slog.Logger
	Expire time.Duration // x= is this long after t=; 0: no x=
	Now    func() time.Time
}

// Signer makes DKIM signatures (RFC 6376, RFC 8463) with the keys of our domains. One value serves all workers.
type Signer struct {
	store *storage.Store
	o     SignOptions
}

// NewSigner makes one.
func NewSigner(store *storage.Store, o SignOptions) *Signer {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Signer{store: store, o: o}
}

// Sign makes the fields that go in front of a message: a signature of each algorithm by the domain of its From field if that is ours, else by
// the envelope sender's. No fields and no error when neither is. message holds size bytes in the form in which they are sent (re-encoded, lines folded, dots not
// doubled). key names that form (the outbox id and what was done to it): what was made for a key is given again for a while, so that further
// attempts and domains cost nothing; "" keeps nothing.
func (s *Signer) Sign(ctx context.Context, key, sender string, message io.ReaderAt, size int64) ([]byte, error) {
	return nil, nil
}
