package storage

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
)

// The Sender Rewriting Scheme: mail that is forwarded leaves with a sender of the forwarding domain, which SPF lets us be, and what comes back to it is
// sent on to the sender that it had.
//
//	SRS0=HHHHHHHH=TT=domain=local@ours               of local@domain
//	SRS1=HHHHHHHH=other==rest@ours                   of SRS0=rest@other and SRS1=...==rest@...: the way back is to other, who knows the rest
//
// H is an HMAC, T the day modulo 1024. All of it is compared without regard to case.

var srsAlphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// srsDays is how long returns are taken.
const srsDays = 21

// SetSecret gives the secret of the addresses that RewriteSender makes and of LoopMark. It is called before the store is used by others, and must be the same after a
// restart, lest returns are refused. Without it, addresses of the one are not known to the next.
func (s *Store) SetSecret(secret []byte) { s.secret = secret }

// mac is n letters by which we know what we made.
func (s *Store) mac(n int, purpose, text string) string {
	h := hmac.New(sha256.New, s.secret)
	h.Write([]byte("packetboat " + purpose + "\x00" + strings.ToLower(text)))
	return srsAlphabet.EncodeToString(h.Sum(nil))[:n]
}

// LoopMark is what marks messages that by, an address or an account of ours, has sent on. It tells nobody who that is.
func (s *Store) LoopMark(by string) string { return s.mac(20, "loop", by) }

// RewriteSender is the envelope sender of a message from sender that by, an address of ours, sends on. The null sender stays, and so does one of our
// domains. One that would be too long becomes by itself.
func (s *Store) RewriteSender(ctx context.Context, sender, by string) (string, error) {
	if sender == "" {
		return "", nil
	}
	if !strings.Contains(by, "@") {
		return "", nil // postmaster of a server without a domain
	}
	local, domain, err := ParseAddress(sender)
	if err != nil {
		return by, nil // an address literal: nobody else could answer to it
	}
	ours, err := s.ours(domain)
	if err != nil {
		return "", fail("sender", err)
	}
	if ours {
		return sender, nil
	}
	_, here, _ := strings.Cut(by, "@")
	if !isDotString(local) {
		return by, nil
	}
	var made string
	switch kind, rest := cutRewritten(local); kind {
	case 0:
		text := s.srsDay(0) + "=" + domain + "=" + local
		made = "SRS0=" + s.mac(8, "srs0", text) + "=" + text
	default:
		other := domain
		if kind == '1' {
			// Of a chain only the first forwarder and the last are kept.
			_, first, ok := strings.Cut(rest, "=")
			o, r, found := strings.Cut(first, "==")
			if !ok || !found {
				return by, nil
			}
			other, rest = o, r
		}
		text := other + "==" + rest
		made = "SRS1=" + s.mac(8, "srs1", text) + "=" + text
	}
	if len(made) > 64 {
		return by, nil // RFC 5321 section 4.5.3.1.1
	}
	return made + "@" + here, nil
}

// srsDay is the day so many days ago, in two letters.
func (s *Store) srsDay(ago int64) string {
	d := (s.now()/86400 - ago) & 1023
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	return string([]byte{letters[d>>5], letters[d&31]})
}

func (s *Store) now() int64 { return s.o.Now().Unix() }

// cutRewritten tells of which kind ('0', '1') a rewritten local part is; 0: of none.
func cutRewritten(local string) (kind byte, rest string) {
	if len(local) < 6 || !strings.EqualFold(local[:3], "SRS") || local[3] != '0' && local[3] != '1' || strings.IndexByte("=-+", local[4]) < 0 {
		return 0, ""
	}
	return local[3], local[5:]
}

func isRewritten(local string) bool { kind, _ := cutRewritten(local); return kind != 0 }

// returned is the way back of what comes to an address that we made.
func (s *Store) returned(local string) (Route, error) {
	kind, rest := cutRewritten(local)
	mac, text, ok := strings.Cut(rest, "=")
	if !ok || !hmac.Equal([]byte(strings.ToLower(mac)), []byte(s.mac(8, "srs"+string(kind), text))) {
		return Route{}, ErrForged
	}
	to := ""
	if kind == '1' {
		other, rest, _ := strings.Cut(text, "==")
		to = "SRS0=" + rest + "@" + other
	} else {
		day, rest, _ := strings.Cut(text, "=")
		if !s.recent(day) {
			return Route{}, ErrExpired
		}
		domain, user, _ := strings.Cut(rest, "=")
		to = user + "@" + domain
	}
	_, domain, err := ParseAddress(to)
	if err != nil {
		return Route{}, err
	}
	ours, err := s.ours(domain)
	if err != nil {
		return Route{}, err
	}
	if ours {
		return Route{}, fmt.Errorf("%w: it leads back here", ErrLoop)
	}
	return Route{Return: true, Forwards: []Forward{{Address: to}}}, nil
}

func (s *Store) recent(day string) bool {
	for ago := int64(-1); ago <= srsDays; ago++ {
		if strings.EqualFold(day, s.srsDay(ago)) {
			return true
		}
	}
	return false
}
