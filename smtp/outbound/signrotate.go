package outbound

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

const (
	rotateLook = time.Hour // between two looks at keys and their records
	// rotateSettled is how long the DNS must have shown a new key: by then all servers of the domain have it.
	rotateSettled = time.Hour
)

// Run takes care of the keys: makes the next pair when the active one is SignOptions.Rotate old, lets it sign when the DNS shows it, and forgets retired ones a week later. It
// returns when ctx ends.
func (s *Signer) Run(ctx context.Context) error {
	tick := time.NewTicker(rotateLook)
	defer tick.Stop()
	for {
		if err := s.rotateAll(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Error("cannot take care of dkim keys", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *Signer) rotateAll(ctx context.Context) error {
	all, err := s.store.Domains(ctx)
	if err != nil {
		return err
	}
	for _, d := range all {
		if err := s.rotate(ctx, d.Name); err != nil {
			return err
		}
	}
	gone, err := s.store.DropRetiredDKIMKeys(ctx, s.o.Now().Add(-storage.DKIMRetirement))
	for _, name := range gone {
		s.o.Logger.Info("a retired dkim key is gone: its record can be removed from the dns", "name", name)
	}
	return err
}

// rotate looks at the keys of one domain.
func (s *Signer) rotate(ctx context.Context, domain string) error {
	keys, err := s.store.DKIMKeys(ctx, domain)
	if err != nil {
		return err
	}
	now := s.o.Now()
	next, settled, old := 0, 0, false
	for _, k := range keys {
		switch k.State {
		case storage.DKIMActive:
			old = old || s.o.Rotate > 0 && now.Sub(k.Created) >= s.o.Rotate
		case storage.DKIMNext:
			next++
			if seen, err := s.look(ctx, k); err != nil {
				return err
			} else if !seen.IsZero() && now.Sub(seen) >= rotateSettled {
				settled++
			}
		}
	}
	switch {
	case next == 0 && old:
		s.o.Logger.Info("new dkim keys are to be published in the dns; they sign when it shows them", "domain", domain)
		return s.store.AddDKIMKeys(ctx, domain)
	case next > 0 && settled == next:
		s.o.Logger.Info("new dkim keys sign", "domain", domain)
		return s.store.ActivateDKIMKeys(ctx, domain)
	}
	return nil
}

// look asks the DNS for a key's record and notes whether it is there. It tells since when it has been; zero when it is not, or nobody knows.
func (s *Signer) look(ctx context.Context, k storage.DKIMKey) (time.Time, error) {
	shown, err := Published(ctx, s.o.Resolver, k)
	if err != nil {
		return time.Time{}, nil // no answer says nothing
	}
	if shown == !k.Seen.IsZero() {
		return k.Seen, nil
	}
	if err := s.store.SeenDKIMKey(ctx, k.Domain, k.Selector, shown); err != nil || !shown {
		return time.Time{}, err
	}
	return s.o.Now(), nil
}

// Published tells whether the DNS shows a key's record. An error means that it did not answer.
func Published(ctx context.Context, resolver dns.Resolver, k storage.DKIMKey) (bool, error) {
	if resolver == nil {
		return false, nil
	}
	all, _, err := resolver.LookupTXT(ctx, k.Name()+".")
	if dns.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	want := "p=" + base64.StdEncoding.EncodeToString(k.Public)
	for _, txt := range all {
		for tag := range strings.SplitSeq(strings.Join(strings.Fields(txt), ""), ";") {
			if tag == want {
				return true, nil
			}
		}
	}
	return false, nil
}
