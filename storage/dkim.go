package storage

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// DKIMState is what a key is used for.
//
//	next ──ActivateDKIMKeys──> active ──ActivateDKIMKeys──> retired ──DropRetiredDKIMKeys──> gone
type DKIMState string

// The states.
const (
	DKIMNext    DKIMState = "next"    // to be published in the DNS; does not sign yet
	DKIMActive  DKIMState = "active"  // signs
	DKIMRetired DKIMState = "retired" // signs no more; stays published for those who verify late. Its private half is gone.
)

// The algorithms of keys, as k= names them (RFC 6376 section 3.6.1, RFC 8463 section 3).
const (
	DKIMRSA     = "rsa"     // 2048 bits
	DKIMEd25519 = "ed25519" // RFC 8463
)

// DKIMRetirement is how long a retired key stays published. RFC 6376 section 3.1: until signatures made with it are unlikely to be verified any more; five
// days is how long a queue tries.
const DKIMRetirement = 7 * 24 * time.Hour

// DKIMKey is a key that mail of a domain is signed with.
type DKIMKey struct {
	Domain, Selector string // A-labels, lowercase
	Algorithm        string // DKIMRSA or DKIMEd25519
	State            DKIMState
	Private          []byte // PKCS #8; empty when retired
	Public           []byte // what p= says: SubjectPublicKeyInfo of an RSA key, the 32 bytes of an Ed25519 key
	Created          time.Time
	Seen             time.Time // when the DNS first showed its record; zero: not yet
	Changed          time.Time // when it came into its state
}

// Name is where its record is in the DNS.
func (k DKIMKey) Name() string { return k.Selector + "._domainkey." + k.Domain }

// Record is the text of its TXT record (RFC 6376 section 3.6.1). That of an RSA key is longer than one string of a TXT record holds (255 bytes).
func (k DKIMKey) Record() string {
	return "v=DKIM1; k=" + k.Algorithm + "; p=" + base64.StdEncoding.EncodeToString(k.Public)
}

// Signer is its private half. fs.ErrNotExist when it is retired.
func (k DKIMKey) Signer() (crypto.Signer, error) {
	if len(k.Private) == 0 {
		return nil, fail("dkim key "+k.Name(), fs.ErrNotExist)
	}
	private, err := x509.ParsePKCS8PrivateKey(k.Private)
	if err != nil {
		return nil, fail("dkim key "+k.Name(), fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	return private.(crypto.Signer), nil
}

// dkimPair is a key of each algorithm, still without selectors.
type dkimPair [2]DKIMKey

// makeDKIM makes one; it takes as long as finding an RSA key does, so never inside of a transaction.
func (s *Store) makeDKIM() (dkimPair, error) {
	make2048 := s.o.RSAKey
	if make2048 == nil {
		make2048 = func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) } // RFC 8301 section 3.2: 2048 at least
	}
	long, err := make2048()
	if err != nil {
		return dkimPair{}, err
	}
	public, short, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return dkimPair{}, err
	}
	pair := dkimPair{{Algorithm: DKIMRSA}, {Algorithm: DKIMEd25519, Public: public}}
	if pair[0].Public, err = x509.MarshalPKIXPublicKey(&long.PublicKey); err != nil {
		return dkimPair{}, err
	}
	for i, k := range []crypto.Signer{long, short} {
		if pair[i].Private, err = x509.MarshalPKCS8PrivateKey(k); err != nil {
			return dkimPair{}, err
		}
	}
	return pair, nil
}

// putDKIM gives the pair selectors that no key of the domain has and stores it: pb202611r and pb202611e in November 2026, then pb202611r2 and so on.
func (t *tx) putDKIM(domain string, pair dkimPair, state DKIMState) error {
	used, err := readSet[string](t.db, `SELECT selector FROM dkim_key WHERE domain = ?`, domain)
	if err != nil {
		return err
	}
	at := t.s.o.Now().UTC()
	stem, n := "pb"+at.Format("200601"), ""
	for i := 2; used[stem+"r"+n] || used[stem+"e"+n]; i++ {
		n = fmt.Sprint(i)
	}
	for _, k := range pair {
		if err := t.exec(`INSERT INTO dkim_key (domain, selector, algorithm, state, private, public, created, seen, changed) VALUES (?, ?, ?, ?, ?, ?, ?, 0, ?)`,
			domain, stem+k.Algorithm[:1]+n, k.Algorithm, string(state), k.Private, k.Public, at.Unix(), at.Unix()); err != nil {
			return err
		}
	}
	t.dkimChanged()
	return nil
}

// dkimChanged tells those who keep keys in memory, after the commit.
func (t *tx) dkimChanged() { t.after = append(t.after, func() { t.s.dkimEpoch.Add(1) }) }

// DKIMEpoch grows with every change of keys: who keeps some in memory compares it.
func (s *Store) DKIMEpoch() uint64 { return s.dkimEpoch.Load() }

// DKIMKeys are the keys of one of our domains, the active ones first, then next, then retired; RSA before Ed25519. A domain that has none, as one that was added
// before there were any, gets its first pair. ErrNotLocal, ErrInvalid.
func (s *Store) DKIMKeys(ctx context.Context, domain string) ([]DKIMKey, error) {
	d, err := parseDomain(strings.TrimSuffix(domain, "."))
	if err != nil {
		return nil, fail("dkim keys", err)
	}
	all, err := readDKIM(s.db, d)
	if err != nil || len(all) > 0 {
		return all, fail("dkim keys", err)
	}
	if err := s.local(d); err != nil {
		return nil, fail("dkim keys", err)
	}
	pair, err := s.makeDKIM()
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			if all, err := readDKIM(t.db, d); err != nil || len(all) > 0 {
				return err
			}
			if err := t.local(d); err != nil {
				return err
			}
			return t.putDKIM(d, pair, DKIMActive)
		})
	}
	if err == nil {
		all, err = readDKIM(s.db, d)
	}
	return all, fail("dkim keys", err)
}

// local is ErrNotLocal for a domain that is not ours.
func (s *Store) local(domain string) error { return isLocal(s.db, domain) }

func (t *tx) local(domain string) error { return isLocal(t.db, domain) }

func isLocal(q sqldb.Querier, domain string) error {
	var n int
	if err := q.Row(`SELECT COUNT(*) FROM domain WHERE name = ?`, domain).Scan(&n); err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("%w: %s", ErrNotLocal, domain)
	}
	return nil
}

func readDKIM(q sqldb.Querier, domain string) ([]DKIMKey, error) {
	rows, err := q.Query(`SELECT domain, selector, algorithm, state, private, public, created, seen, changed FROM dkim_key WHERE domain = ? ORDER BY state, algorithm DESC, created`, domain)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []DKIMKey
	for rows.Next() {
		var k DKIMKey
		var created, seen, changed int64
		if err := rows.Scan(&k.Domain, &k.Selector, &k.Algorithm, &k.State, &k.Private, &k.Public, &created, &seen, &changed); err != nil {
			return nil, err
		}
		k.Created, k.Changed = unix(created), unix(changed)
		if seen > 0 {
			k.Seen = unix(seen)
		}
		all = append(all, k)
	}
	return all, rows.Err()
}
