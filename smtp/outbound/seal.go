package outbound

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// Seal makes the ARC set that goes in front of a message that others sent and we pass on (RFC 8617 section 5.1): what we found out when it came, and that it left us
// like this. The envelope sender's domain (that of the forwarding address, after SRS) seals, else the default domain. No fields and no error for a chain that cannot be continued.
// message, size and key as for Sign.
func (s *Signer) Seal(ctx context.Context, key, sender string, message io.ReaderAt, size int64) ([]byte, error) {
	if s.o.NoSeal {
		return nil, nil
	}
	return s.once(ctx, "seal "+key, key != "", func() ([]byte, error) { return s.seal(ctx, sender, message, size) })
}

func (s *Signer) seal(ctx context.Context, sender string, message io.ReaderAt, size int64) ([]byte, error) {
	domain, key, err := s.sealing(ctx, sender)
	if err != nil || key == nil {
		return nil, err
	}
	header, at, err := readHeader(message, size)
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	fields := verify.HeaderFields(header)
	body := io.NewSectionReader(message, at, size-at)
	results, status := verify.OwnResults(fields, s.o.Name)
	chain := verify.ARC{Status: status, Instance: verify.ARCInstance(fields)}
	switch {
	case chain.Instance == 0 && !verify.HasARC(fields):
		chain.Status = verify.ARCNone
	case status == verify.ARCPass || status == verify.ARCFail: // by our own word, when it came
	case s.o.Resolver != nil:
		if chain = verify.CheckARC(ctx, s.o.Resolver, header, body, body.Size()); chain.Temporary {
			return nil, fmt.Errorf("sealing: %w", chain.Err)
		}
	default:
		chain.Status = verify.ARCFail
	}
	out, err := verify.Seal(ctx, header, body, body.Size(), verify.Sealer{Domain: domain, Selector: key.selector, Key: key.key, Results: results, Chain: chain, At: s.o.Now()})
	if errors.Is(err, verify.ErrUnsealable) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("sealing: %w", err)
	}
	return out, nil
}

// sealing finds who seals, with the RSA key: RFC 8617 section 4.2 has one set an instance, and few verify anything else.
func (s *Signer) sealing(ctx context.Context, sender string) (string, *signingKey, error) {
	domains := []string{domainOf(sender)}
	if all, err := s.store.Domains(ctx); err != nil {
		return "", nil, err
	} else if len(all) > 0 {
		domains = append(domains, all[0].Name)
	}
	for _, d := range domains {
		name, keys, err := s.active(ctx, d)
		if err != nil {
			return "", nil, err
		}
		for _, k := range keys {
			if k.algorithm == storage.DKIMRSA {
				return name, &k, nil
			}
		}
	}
	return "", nil, nil
}
