package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Account is whose mail and files they are.
type Account struct {
	ID       int64
	Name     string // the login name and primary address, e.g. "ann@example.test"; lowercase, NFC
	Admin    bool
	Disabled bool
	Quota    int64 // bytes over mail and files together; 0 means none
	// MessageQuota is how many messages it may have; 0 means any number, -1 none at all.
	MessageQuota int64
	Epoch        int64 // grows with every change of a credential
	Created      time.Time
	Home         int64 // node id of "/"
	Mail         int64 // node id of "/Mail"
}

// Credential is what proves an account. Secret is opaque here: argon2id is a PHC string, scram-sha-256 is RFC 5803.
type Credential struct {
	Kind   string // "argon2id", "scram-sha-256"
	Secret string
}

// NewAccount is what CreateAccount needs.
type NewAccount struct {
	Name         string // must be an address of a local domain
	Admin        bool
	Quota        int64
	MessageQuota int64 // as in Account
	Aliases      []string
	Credentials  []Credential
}

// Usage is what an account's mail and files take (each message and file at its size, COPY counts again; partial uploads too), and how many there are.
type Usage struct {
	Bytes    int64
	Messages int64
	Files    int64
	Entries  int64 // files, folders, mailboxes and cut uploads, what every account begins with among them
}

// specialUse are the mailboxes that an account begins with; the role of INBOX is its name.
var specialUse = []string{"INBOX", "Drafts", "Sent", "Archive", "Junk", "Trash"}

const accountColumns = `id, name, admin, disabled, quota, message_quota, epoch, created, home, mail`

// scanner is a row or the current one of rows.
type scanner interface{ Scan(dest ...any) error }

func scanAccount(r scanner, more ...any) (*Account, error) {
	var a Account
	var created int64
	err := r.Scan(append([]any{&a.ID, &a.Name, &a.Admin, &a.Disabled, &a.Quota, &a.MessageQuota, &a.Epoch, &created, &a.Home, &a.Mail}, more...)...)
	a.Created = unix(created)
	return &a, err
}

func readAccountRow(q sqldb.Querier, id int64) (*accountRow, error) {
	var r accountRow
	a, err := scanAccount(q.Row(`SELECT `+accountColumns+`, bytes, messages, files, entries, modseq, uidvalidity FROM account WHERE id = ?`, id),
		&r.Bytes, &r.Messages, &r.Files, &r.Entries, &r.modseq, &r.uidvalidity)
	if err != nil {
		return nil, fmt.Errorf("account: %w", noRows(err))
	}
	r.Account = *a
	return &r, nil
}

// CreateAccount makes the account with its home, /Mail and the special-use mailboxes INBOX, Drafts, Sent, Archive, Junk, Trash
// (RFC 6154; all subscribed). fs.ErrExist when the name or an alias is taken, ErrNotLocal when the domain is not ours.
func (s *Store) CreateAccount(ctx context.Context, n NewAccount) (*Account, error) {
	var a *Account
	err := s.create(ctx, n, &a)
	return a, fail("create account", err)
}

func (s *Store) create(ctx context.Context, n NewAccount, made **Account) error {
	all := make([]address, 0, 1+len(n.Aliases))
	for _, name := range append([]string{n.Name}, n.Aliases...) {
		a, err := parseOwn(name)
		if err != nil {
			return err
		}
		if slices.Contains(all, a) {
			return fmt.Errorf("%s: %w (named twice)", a, fs.ErrExist)
		}
		all = append(all, a)
	}
	if n.Quota < 0 || n.MessageQuota < -1 {
		return fmt.Errorf("%w: negative quota", ErrInvalid)
	}
	return s.do(ctx, func(t *tx) error {
		for _, a := range all {
			if err := t.free(a); err != nil {
				return err
			}
		}
		id, err := t.newID()
		if err != nil {
			return err
		}
		row := &accountRow{Account: Account{ID: id, Name: all[0].String(), Admin: n.Admin, Quota: n.Quota, MessageQuota: n.MessageQuota, Epoch: 1, Created: unix(t.now())}}
		t.w.accounts[id] = row
		if row.Home, err = t.putNode(Node{Account: id, Kind: KindFolder, Mode: 0o700}, 0); err != nil {
			return err
		}
		if row.Mail, err = t.putNode(Node{Account: id, Parent: row.Home, Kind: KindFolder, Name: "Mail", Mode: 0o700}, 0); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO account (`+accountColumns+`, bytes, messages, files, modseq, uidvalidity) VALUES (?, ?, ?, 0, ?, ?, 1, ?, ?, ?, 0, 0, 0, 0, 0)`,
			id, row.Name, truth(n.Admin), n.Quota, n.MessageQuota, t.now(), row.Home, row.Mail); err != nil {
			return err
		}
		for i, a := range all {
			if err := t.putAddress(id, a, i); err != nil {
				return err
			}
		}
		if err := t.putCredentials(id, n.Credentials); err != nil {
			return err
		}
		if err := t.putSpecialUse(row); err != nil {
			return err
		}
		t.change(watch.Change{Account: id, Kind: watch.AccountChanged})
		a := row.Account
		*made = &a
		return nil
	})
}

func (t *tx) putSpecialUse(a *accountRow) error {
	for _, name := range specialUse {
		role := name
		if name == "INBOX" {
			role = ""
		}
		if _, err := t.makeMailbox(a, a.Mail, name, name, role, false); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO subscription (account, name) VALUES (?, ?)`, a.ID, name); err != nil {
			return err
		}
	}
	return nil
}

// Account by id. fs.ErrNotExist.
func (s *Store) Account(ctx context.Context, id int64) (*Account, error) {
	a, err := scanAccount(s.db.Row(`SELECT `+accountColumns+` FROM account WHERE id = ?`, id))
	if err != nil {
		return nil, fail("account", err)
	}
	return a, nil
}

// AccountByLogin finds the account of what a user types: the full primary address, an alias, or the local part alone
// for the default domain. Disabled accounts are found too.
func (s *Store) AccountByLogin(ctx context.Context, login string) (*Account, error) {
	a, err := s.byLogin(login)
	if err != nil {
		return nil, fail("account by login", err)
	}
	return a, nil
}

func (s *Store) byLogin(login string) (*Account, error) {
	if !strings.Contains(login, "@") {
		d, err := s.defaultDomain()
		if err != nil {
			return nil, err
		}
		login += "@" + d
	}
	local, domain, err := ParseAddress(login)
	if err != nil {
		// What is no address is nobody's.
		return nil, fs.ErrNotExist
	}
	return s.byAddress(foldLocal(local), domain)
}

// byAddress finds whose address it is, without detail.
func (s *Store) byAddress(local, domain string) (*Account, error) {
	return scanAccount(s.db.Row(`SELECT `+accountColumns+` FROM account WHERE id = (SELECT account FROM address WHERE domain = ? AND local = ?)`, domain, local))
}

// Accounts are all accounts by name.
func (s *Store) Accounts(ctx context.Context) ([]*Account, error) {
	rows, err := s.db.Query(`SELECT ` + accountColumns + ` FROM account ORDER BY name`)
	if err != nil {
		return nil, fail("accounts", err)
	}
	defer rows.Close()
	var all []*Account
	for rows.Next() {
		a, err := scanAccount(rows)
		if err != nil {
			return nil, fail("accounts", err)
		}
		all = append(all, a)
	}
	return all, fail("accounts", rows.Err())
}

// AccountChange names what UpdateAccount changes; nil fields stay.
type AccountChange struct {
	Admin        *bool
	Disabled     *bool
	Quota        *int64
	MessageQuota *int64
}

// UpdateAccount changes an account.
func (s *Store) UpdateAccount(ctx context.Context, id int64, c AccountChange) (*Account, error) {
	var a Account
	err := s.do(ctx, func(t *tx) error {
		row, err := t.account(id)
		if err != nil {
			return err
		}
		a = row.Account
		set(&a.Admin, c.Admin)
		set(&a.Disabled, c.Disabled)
		set(&a.Quota, c.Quota)
		set(&a.MessageQuota, c.MessageQuota)
		if a.Quota < 0 || a.MessageQuota < -1 {
			return fmt.Errorf("%w: negative quota", ErrInvalid)
		}
		if err := t.exec(`UPDATE account SET admin = ?, disabled = ?, quota = ?, message_quota = ? WHERE id = ?`, truth(a.Admin), truth(a.Disabled), a.Quota, a.MessageQuota, id); err != nil {
			return err
		}
		row.Account = a
		t.change(watch.Change{Account: id, Kind: watch.AccountChanged})
		return nil
	})
	if err != nil {
		return nil, fail("update account", err)
	}
	return &a, nil
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// RemoveAccount removes the account with all its mail and files: at once from everyone's eyes, the rows and blobs by the sweeper.
func (s *Store) RemoveAccount(ctx context.Context, id int64) error {
	err := s.do(ctx, func(t *tx) error {
		a, err := t.account(id)
		if err != nil {
			return err
		}
		boxes, err := t.accountMailboxes(id)
		if err != nil {
			return err
		}
		for _, m := range boxes {
			if err := t.dropMailboxRow(m); err != nil {
				return err
			}
		}
		for _, q := range []string{
			`DELETE FROM account WHERE id = ?`, `DELETE FROM address WHERE account = ?`, `DELETE FROM credential WHERE account = ?`,
			`DELETE FROM subscription WHERE account = ?`, `DELETE FROM retired WHERE account = ?`, `DELETE FROM acl WHERE identifier = ?`,
			`DELETE FROM pass WHERE account = ?`, `DELETE FROM visit WHERE account = ?`, `DELETE FROM annotation WHERE viewer = ?`,
			`DELETE FROM sending WHERE account = ?`, `DELETE FROM sending_slot WHERE account = ?`, `DELETE FROM forward WHERE account = ?`, `DELETE FROM sieve_script WHERE account = ?`, `DELETE FROM sieve_memory WHERE account = ?`,
		} {
			if err := t.exec(q, id); err != nil {
				return err
			}
		}
		if err := t.dropAccess(id); err != nil {
			return err
		}
		if err := t.dropAccountMounts(id); err != nil {
			return err
		}
		// Files, folders, partial uploads and the mailboxes' nodes hang on home.
		if err := t.exec(`INSERT INTO purge (id, kind) VALUES (?, ?)`, a.Home, purgeNode); err != nil {
			return err
		}
		delete(t.w.accounts, id)
		t.after = append(t.after, s.wakeSweeper)
		t.change(watch.Change{Account: id, Kind: watch.AccountChanged})
		return nil
	})
	return fail("remove account", err)
}

// Credentials of an account.
func (s *Store) Credentials(ctx context.Context, account int64) ([]Credential, error) {
	rows, err := s.db.Query(`SELECT kind, secret FROM credential WHERE account = ? ORDER BY kind`, account)
	if err != nil {
		return nil, fail("credentials", err)
	}
	defer rows.Close()
	var all []Credential
	for rows.Next() {
		var c Credential
		if err := rows.Scan(&c.Kind, &c.Secret); err != nil {
			return nil, fail("credentials", err)
		}
		all = append(all, c)
	}
	return all, fail("credentials", rows.Err())
}

// SetCredentials replaces all credentials and advances Epoch.
func (s *Store) SetCredentials(ctx context.Context, account int64, c []Credential) error {
	return fail("set credentials", s.setCredentials(ctx, account, c, nil))
}

// SetCredentialsIf is SetCredentials when the account's Epoch still is epoch; otherwise ErrConflict.
func (s *Store) SetCredentialsIf(ctx context.Context, account, epoch int64, c []Credential) error {
	return fail("set credentials", s.setCredentials(ctx, account, c, &epoch))
}

func (s *Store) setCredentials(ctx context.Context, account int64, c []Credential, epoch *int64) error {
	return s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		if epoch != nil && *epoch != a.Epoch {
			return fmt.Errorf("%w: the credentials are others by now", ErrConflict)
		}
		if err := t.exec(`DELETE FROM credential WHERE account = ?`, account); err != nil {
			return err
		}
		if err := t.putCredentials(account, c); err != nil {
			return err
		}
		if err := t.advanceEpoch(a); err != nil {
			return err
		}
		t.change(watch.Change{Account: account, Kind: watch.AccountChanged})
		return nil
	})
}

func (t *tx) putCredentials(account int64, all []Credential) error {
	for _, c := range all {
		if err := t.exec(`INSERT INTO credential (account, kind, secret) VALUES (?, ?, ?)`, account, c.Kind, c.Secret); err != nil {
			return err
		}
	}
	return nil
}

// Usage of an account: a row that is kept, never counted.
func (s *Store) Usage(ctx context.Context, account int64) (Usage, error) {
	_, u, err := s.quota(account)
	return u, fail("usage", err)
}
