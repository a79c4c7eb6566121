package storage

import (
	"context"
	"time"
)

// Account is whose mail and files they are.
type Account struct {
	ID       int64
	Name     string // the login name and primary address, e.g. "ann@example.test"; lowercase, NFC
	Admin    bool
	Disabled bool
	Quota    int64 // bytes over mail and files together; 0 means none
	Epoch    int64 // grows with every change of a credential
	Created  time.Time
	Home     int64 // node id of "/"
	Mail     int64 // node id of "/Mail"
}

// Credential is what proves an account. Secret is opaque here: argon2id is a PHC string, scram-sha-256 is RFC 5803.
type Credential struct {
	Kind   string // "argon2id", "scram-sha-256"
	Secret string
}

// NewAccount is what CreateAccount needs.
type NewAccount struct {
	Name        string // must be an address of a local domain
	Admin       bool
	Quota       int64
	Aliases     []string
	Credentials []Credential
}

// CreateAccount makes the account with its home, /Mail and the special-use mailboxes INBOX, Drafts, Sent, Archive, Junk, Trash
// (RFC 6154; all subscribed). fs.ErrExist when the name or an alias is taken, ErrNotLocal when the domain is not ours.
func (s *Store) CreateAccount(ctx context.Context, n NewAccount) (*Account, error) { panic("stub") }

// Account by id. fs.ErrNotExist.
func (s *Store) Account(ctx context.Context, id int64) (*Account, error) { panic("stub") }

// AccountByLogin finds the account of what a user types: the full primary address, an alias, or the local part alone
// for the default domain. Disabled accounts are found too.
func (s *Store) AccountByLogin(ctx context.Context, login string) (*Account, error) { panic("stub") }

// Accounts are all accounts by name.
func (s *Store) Accounts(ctx context.Context) ([]*Account, error) { panic("stub") }

// AccountChange names what UpdateAccount changes; nil fields stay.
type AccountChange struct {
	Admin    *bool
	Disabled *bool
	Quota    *int64
}

// UpdateAccount changes an account.
func (s *Store) UpdateAccount(ctx context.Context, id int64, c AccountChange) (*Account, error) {
	panic("stub")
}

// RemoveAccount removes the account with all its mail and files. Its blobs go with the sweeper.
func (s *Store) RemoveAccount(ctx context.Context, id int64) error { panic("stub") }

// Credentials of an account.
func (s *Store) Credentials(ctx context.Context, account int64) ([]Credential, error) { panic("stub") }

// SetCredentials replaces all credentials and advances Epoch.
func (s *Store) SetCredentials(ctx context.Context, account int64, c []Credential) error {
	panic("stub")
}

// Usage is what an account's mail and files take (each message and file at its size, COPY counts again; partial uploads too), and how many there are.
type Usage struct {
	Bytes    int64
	Messages int64
	Files    int64
}

// Usage of an account: a row that is kept, never counted.
func (s *Store) Usage(ctx context.Context, account int64) (Usage, error) { panic("stub") }
