package storage

import "context"

// Domain is one whose mail we take. The first one made is the default domain.
type Domain struct {
	Name    string // lowercase A-label form
	Default bool
}

// AddDomain, RemoveDomain (fs.ErrPermission while an account has an address in it) and Domains.
func (s *Store) AddDomain(ctx context.Context, name string) error    { panic("stub") }
func (s *Store) RemoveDomain(ctx context.Context, name string) error { panic("stub") }
func (s *Store) Domains(ctx context.Context) ([]Domain, error)       { panic("stub") }

// AddAlias and RemoveAlias; Addresses are all addresses of an account, the primary one first.
func (s *Store) AddAlias(ctx context.Context, account int64, addr string) error    { panic("stub") }
func (s *Store) RemoveAlias(ctx context.Context, account int64, addr string) error { panic("stub") }
func (s *Store) Addresses(ctx context.Context, account int64) ([]string, error)    { panic("stub") }

// Route is where mail for an address goes.
type Route struct {
	Account *Account
	Detail  string // of user+detail@domain (RFC 5233), "" when none
}

// Resolve tells where mail for addr goes. The local part is compared without regard to case. postmaster of every local domain (and of no domain: RFC 5321 section 4.5.1)
// goes to the account or alias of that name if there is one, else to the first enabled administrator; abuse likewise.
// ErrNotLocal when the domain is not ours, fs.ErrNotExist when nobody has the address, ErrInvalid when it is no address.
// Disabled accounts still receive.
func (s *Store) Resolve(ctx context.Context, addr string) (Route, error) { panic("stub") }

// Owns tells whether the account may send as addr: one of its addresses, with any +detail.
func (s *Store) Owns(ctx context.Context, account int64, addr string) (bool, error) { panic("stub") }

// ParseAddress splits and normalises addr: local part NFC (case kept), domain lowercase A-labels; address literals are ErrInvalid.
// RFC 5321 section 4.1.2 with RFC 6531; local part <= 64 bytes, domain <= 255.
func ParseAddress(addr string) (local, domain string, err error) { panic("stub") }
