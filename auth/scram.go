package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/storage"
)

// scramKeys are what a server keeps for SCRAM-SHA-256, stored in the form of RFC 5803:
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>     (base64)
type scramKeys scram.StoredCredentials

// scramIterations of PBKDF2: 6 ms of the client's time in Go or C. RFC 7677 section 4 wants at least 4,096; whoever steals the
// store would guess against these keys rather than the argon2id hash, which speaks for more.
const (
	scramIterations    = 30000
	scramMinIterations = 4096
	scramMaxIterations = 10_000_000 // a client may be asked for no more
	scramSalt          = 16
	scramKey           = 32 // SHA-256
)

var errScramKeys = errors.New("not SCRAM-SHA-256 keys")

// deriveScram derives the keys of a prepared password with a fresh salt.
func deriveScram(password string) (*scramKeys, error) {
	return deriveScramWith(password, scram.KeyFactors{Salt: string(randomBytes(scramSalt)), Iters: scramIterations})
}

func deriveScramWith(password string, f scram.KeyFactors) (*scramKeys, error) {
	// RFC 5802 section 2.2: clients send what SASLprep (RFC 4013) made of the password. Where that refuses
	// one (it knows Unicode 3.2 only), they can but send it as it is.
	c, err := scram.SHA256.NewClient("", password, "")
	if err != nil {
		c, err = scram.SHA256.NewClientUnprepped("", password, "")
	}
	if err != nil {
		return nil, fmt.Errorf("auth: derive SCRAM keys: %w", err)
	}
	k, err := c.GetStoredCredentialsWithError(f)
	if err != nil {
		return nil, fmt.Errorf("auth: derive SCRAM keys: %w", err)
	}
	return (*scramKeys)(&k), nil
}

func (k *scramKeys) String() string {
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", mechScram, k.Iters, b64([]byte(k.Salt)), b64(k.StoredKey), b64(k.ServerKey))
}

// stale tells whether the keys were made with other parameters than those of today.
func (k *scramKeys) stale() bool { return k.Iters != scramIterations || len(k.Salt) < scramSalt }

func parseScramKeys(s string) (*scramKeys, error) {
	part := strings.Split(s, "$")
	if len(s) > phcMaxString || len(part) != 3 || part[0] != mechScram {
		return nil, errScramKeys
	}
	iter, salt, ok := strings.Cut(part[1], ":")
	stored, server, ok2 := strings.Cut(part[2], ":")
	n, err := strconv.Atoi(iter)
	if !ok || !ok2 || err != nil || n < scramMinIterations || n > scramMaxIterations {
		return nil, errScramKeys
	}
	var b [3][]byte
	for i, f := range [3]string{salt, stored, server} {
		if b[i], err = base64.StdEncoding.Strict().DecodeString(f); err != nil {
			return nil, errScramKeys
		}
	}
	if len(b[0]) == 0 || len(b[1]) != scramKey || len(b[2]) != scramKey {
		return nil, errScramKeys
	}
	return &scramKeys{
		KeyFactors: scram.KeyFactors{Salt: string(b[0]), Iters: n},
		StoredKey:  b[1], ServerKey: b[2],
	}, nil
}

// fakeScram are keys that no password has, always the same ones for a user, also by the other ways to write his name, so that a user
// who does not exist cannot be told from one who does.
func (d *Door) fakeScram(ctx context.Context, user string) (*scramKeys, error) {
	user = strings.ToLower(norm.NFC.String(user))
	if !strings.Contains(user, "@") {
		all, err := d.store.Domains(ctx)
		if err != nil {
			return nil, fmt.Errorf("auth: find domain: %w", err)
		}
		if len(all) > 0 {
			user += "@" + all[0].Name
		}
	}
	if local, domain, err := storage.ParseAddress(user); err == nil {
		user = local + "@" + domain
	}
	salt := keyedHash(d.opt.Secret, "scram salt", user)
	stored := keyedHash(d.opt.Secret, "scram key", user)
	return &scramKeys{
		KeyFactors: scram.KeyFactors{Salt: string(salt[:scramSalt]), Iters: scramIterations},
		StoredKey:  stored[:], ServerKey: stored[:],
	}, nil
}

// scramExchange is the server's side of RFC 5802. The throttle is asked before the first answer and,
// unless that attempt had its turn reserved, again before the proof is verified.
//
//	first: client-first -> server-first ──► final: client-final -> server-final ──► enter: empty -> done
//
// A wrong password cannot be recognised when it comes again, as the proof is a new one each time: every failure counts.
type scramExchange struct {
	*exchange
	plus     bool
	told     bool                        // the client was told of -PLUS
	talk     []*scram.ServerConversation // one for each meaning of the channel binding's name, the same in all else
	target   *target
	reserved bool
}

func (e *scramExchange) first(response []byte) ([]byte, bool, error) {
	if e.absent(response) {
		return []byte{}, false, nil
	}
	ctx, cancel := within(e.ctx, e.session)
	defer cancel()
	if !isScramFirst(response) {
		return nil, false, e.malformed()
	}
	var refused error
	var keys *scramKeys
	talk, err := e.conversations(response, func(user string) (scram.StoredCredentials, error) {
		e.attempt.user = user
		if keys == nil && refused == nil {
			keys, refused = e.lookup(ctx, user)
		}
		if refused != nil {
			return scram.StoredCredentials{}, refused
		}
		return scram.StoredCredentials(*keys), nil
	})
	if err != nil {
		return nil, false, e.malformed()
	}
	var answer string
	for _, t := range talk {
		answer, err = t.Step(string(response))
		switch {
		case refused != nil:
			return nil, false, e.door.refuse(e.session, e.attempt, refused)
		case err != nil:
			return nil, false, e.malformed()
		}
	}
	e.talk, e.step, e.attempt.authzid = talk, e.final, talk[0].AuthzID()
	return []byte(answer), false, nil
}

// conversations pick the channel binding that the client-first message asks for.
//
// RFC 5802 section 6: "p" goes with -PLUS and only with it; "y" is refused where -PLUS was announced, since somebody must
// have taken it out of the list.
func (e *scramExchange) conversations(first []byte, lookup scram.CredentialLookup) ([]*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(lookup)
	if err != nil {
		return nil, fmt.Errorf("auth: SCRAM: %w", err)
	}
	h, _, _ := parseGS2(first)
	if (h.flag == 'p') != e.plus {
		return nil, errBinding
	}
	if h.flag == 'p' {
		nonce := base64.StdEncoding.EncodeToString(randomBytes(24))
		server.WithNonceGenerator(func() string { return nonce })
		all, err := e.door.bindings(e.session, scram.ChannelBindingType(h.binding))
		var talk []*scram.ServerConversation
		for _, b := range all {
			talk = append(talk, server.NewConversationWithChannelBindingRequired(b))
		}
		return talk, err
	}
	if e.told && h.flag == 'y' {
		return nil, errBinding
	}
	return []*scram.ServerConversation{server.NewConversation()}, nil
}

// lookup waits for the attempt's turn and returns the user's keys, or such as look like them.
func (e *scramExchange) lookup(ctx context.Context, user string) (*scramKeys, error) {
	t, err := e.door.find(ctx, e.session, user)
	if err != nil {
		return nil, err
	}
	e.attempt.known = t.account != nil
	if e.reserved, err = e.door.wait(ctx, t); err != nil {
		return nil, err
	}
	e.target = t
	c, err := e.door.stored(ctx, t)
	if err != nil {
		return nil, err
	}
	fake, err := e.door.fakeScram(ctx, user)
	if err != nil {
		return nil, err
	}
	if c.keys == nil {
		return fake, nil
	}
	return c.keys, nil
}

func (e *scramExchange) final(response []byte) ([]byte, bool, error) {
	ctx, cancel := within(e.ctx, e.session)
	defer cancel()
	d := e.door
	if !e.reserved {
		if _, err := d.wait(ctx, e.target); err != nil {
			return nil, false, d.refuse(e.session, e.attempt, err)
		}
	}
	var answer string
	var right bool
	for _, t := range e.talk {
		var err error
		if answer, err = t.Step(string(response)); err == nil && t.Valid() {
			right = true
			break
		}
	}
	if !right || !e.target.usable() {
		if !d.opt.NoThrottle {
			d.throttle.fail(e.target.origin)
		}
		reason := e.target.reason()
		if answer == scram.ErrChannelBindingsDontMatch {
			reason = "channel binding"
		}
		return nil, false, d.fail(e.session, e.attempt, reason)
	}
	ok, err := d.mayActAs(ctx, e.target.account, e.attempt)
	if err != nil {
		return nil, false, d.refuse(e.session, e.attempt, err)
	}
	if !ok {
		return nil, false, d.failAuthorization(e.session, e.attempt)
	}
	e.step = e.enter
	// RFC 5802 section 5: the client checks the server's signature, then it sends an empty response.
	return []byte(answer), false, nil
}

func (e *scramExchange) enter(response []byte) ([]byte, bool, error) {
	if len(response) != 0 {
		return nil, false, e.malformed()
	}
	ctx, cancel := within(e.ctx, e.session)
	defer cancel()
	a, err := e.door.enter(ctx, e.session, e.attempt, e.target)
	if err != nil {
		return nil, false, err
	}
	e.account = a
	return nil, true, nil
}
