package outbound

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// target is one address of one host, with what a connection to it must prove.
type target struct {
	host   string
	addr   netip.AddrPort
	route  *Route
	policy *HostPolicy // of a host of the domain; nil on a route
	key    string      // connections of one key can stand for one another
}

// mustTLS tells whether nothing may be sent in clear.
func (t *target) mustTLS() bool {
	if t.policy != nil {
		return t.policy.MustTLS()
	}
	return t.route.TLS != Opportunistic
}

// config is what to make the handshake with.
func (w *Worker) config(t *target) *tls.Config {
	if t.policy != nil {
		return t.policy.Config()
	}
	return &tls.Config{ServerName: t.host, MinVersion: tls.VersionTLS12, RootCAs: w.o.Roots, InsecureSkipVerify: t.route.TLS != Verified}
}

// isOurs tells whether an error says nothing of the peer: there are too many connections already, or files.
func isOurs(err error) bool {
	return errors.Is(err, session.ErrLimit) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// connect opens a connection on which messages can be sent. The error is a *failure, one of ours (isOurs, session.ErrDrain), or that of ctx.
func (w *Worker) connect(ctx context.Context, t *target) (*client, error) {
	c, err := w.try(ctx, t, true)
	var f *failure
	if err == nil || t.mustTLS() || !errors.As(err, &f) || f.stage != atTLS || ctx.Err() != nil {
		return c, err
	}
	// RFC 7435 section 3: opportunistic means that a server which cannot do it right gets mail in clear, as one does that does not offer it.
	w.log.Debug("TLS failed, going on in clear", "remote", f.remote, "error", f.Error())
	return w.try(ctx, t, false)
}

// try makes one attempt, in clear when withTLS is false.
func (w *Worker) try(ctx context.Context, t *target, withTLS bool) (_ *client, err error) {
	remote := remoteName(t.host, t.addr.Addr())
	conn, err := w.registry.Dial(ctx, session.DialOptions{Protocol: session.SMTP, Name: "outbound", Address: t.addr, Local: w.bind(t.addr.Addr()),
		Timeout: w.o.Timeouts.Dial, StallTimeout: w.o.Timeouts.Block})
	if err != nil {
		if errors.Is(err, session.ErrDrain) || ctx.Err() != nil {
			return nil, err
		}
		if isOurs(err) {
			return nil, err
		}
		return nil, &failure{status: "4.4.1", text: "connection failed: " + printable(err.Error()), remote: remote, stage: atConnect, err: err}
	}
	ses := conn.Session()
	c := &client{wire: wire{conn: conn}, ses: ses, t: w.o.Timeouts, lmtp: t.route.LMTP, host: t.host, remote: remote, key: t.key}
	c.name = helloName(w.o.Name, conn.LocalAddr())
	ses.Park("connecting to " + remote) // a drain need not wait for it
	ses.SetClient(t.host)
	defer func() {
		if err != nil {
			ses.SetEnd(err.Error())
			c.close()
		}
	}()
	if err := w.introduce(ctx, c, t, withTLS); err != nil {
		return nil, err
	}
	if t.route.User != "" {
		if err := c.login(t.route.User, t.route.Password); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// introduce goes as far as the answer to the last EHLO.
func (w *Worker) introduce(ctx context.Context, c *client, t *target, withTLS bool) error {
	if t.route.Implicit {
		if err := c.handshake(ctx, w.config(t)); err != nil {
			return err
		}
	}
	if err := c.greet(); err != nil {
		return err
	}
	if err := c.hello(); err != nil {
		return err
	}
	if !withTLS || c.secure {
		return nil
	}
	noOffer, err := c.startTLS(ctx, w.config(t))
	if t.policy != nil {
		a := Attempt{NoSTARTTLS: noOffer, Local: c.ses.Local().Addr(), Remote: t.addr.Addr(), Helo: c.server}
		if !noOffer {
			a.Err = err
		}
		if err == nil || c.ses.Ending() == nil { // what was ended here says nothing of the peer
			t.policy.Done(a)
		}
	}
	switch {
	case err == nil:
		return c.hello()
	case !noOffer || t.mustTLS():
		return err
	}
	return nil
}

// bind is the address of ours to dial from.
func (w *Worker) bind(to netip.Addr) netip.Addr {
	for _, a := range w.o.Bind {
		if a.Is4() == to.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// pool holds connections between two messages. It belongs to a Worker, whose mu guards it.
type pool struct {
	idle map[string][]*client
	n    int
}

// maxIdle is how many connections of one key lie in the pool at most; of all keys it is as many as may be in use, if that is more.
const maxIdle = 64

// park puts a connection that can be used again into the pool, or closes it. When its session is told to end meanwhile, it says goodbye by itself.
func (w *Worker) park(c *client) {
	if c.broken || c.ses.Ending() != nil || c.ext.mailMax > 0 && c.messages >= c.ext.mailMax || w.o.MaxMessages > 0 && c.messages >= w.o.MaxMessages {
		c.quit()
		return
	}
	w.mu.Lock()
	if w.stopping || len(w.pool.idle[c.key]) >= maxIdle || w.pool.n >= max(maxIdle, w.o.Concurrency) {
		w.mu.Unlock()
		c.quit()
		return
	}
	c.idle = time.Now()
	w.pool.idle[c.key] = append(w.pool.idle[c.key], c)
	w.pool.n++
	w.goodbyes.Add(1)
	c.unpark = context.AfterFunc(c.ses.Context(), func() {
		defer w.goodbyes.Done()
		if w.pull(c) {
			c.quit()
		}
	})
	w.mu.Unlock()
}

// fetch takes a connection out of the pool; nil when there is none.
func (w *Worker) fetch(key string) *client {
	for {
		w.mu.Lock()
		all := w.pool.idle[key]
		if len(all) == 0 {
			w.mu.Unlock()
			return nil
		}
		c := all[len(all)-1]
		w.pullLocked(c)
		w.mu.Unlock()
		if c.wake(w) {
			return c
		}
	}
}

// wake ends the watch over a pooled connection that was pulled. It is false when that came too late: the connection ends.
func (c *client) wake(w *Worker) bool {
	if c.unpark() {
		w.goodbyes.Done()
		if c.ses.Ending() == nil {
			return true
		}
	}
	c.quit()
	return false
}

// pull takes c out of the pool; false when somebody else did.
func (w *Worker) pull(c *client) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pullLocked(c)
}

func (w *Worker) pullLocked(c *client) bool {
	all := w.pool.idle[c.key]
	for i := range all {
		if all[i] != c {
			continue
		}
		all = append(all[:i], all[i+1:]...)
		if w.pool.n--; len(all) == 0 {
			delete(w.pool.idle, c.key)
		} else {
			w.pool.idle[c.key] = all
		}
		return true
	}
	return false
}

// sweep closes connections that have lain in the pool for too long, or all.
func (w *Worker) sweep(all bool) {
	old := time.Now().Add(-w.o.Idle)
	var gone []*client
	w.mu.Lock()
	for _, list := range w.pool.idle {
		for _, c := range list {
			if all || c.idle.Before(old) {
				gone = append(gone, c)
			}
		}
	}
	for _, c := range gone {
		w.pullLocked(c)
	}
	w.mu.Unlock()
	for _, c := range gone {
		if c.wake(w) {
			w.goodbyes.Go(c.quit)
		}
	}
}
