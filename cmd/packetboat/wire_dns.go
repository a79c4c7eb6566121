package main

import (
	"context"
	"time"

	"github.com/packetboat/packetboat/smtp/resolve"
)

// How often the DNS is looked at: while it does not answer, and while it does.
const (
	dnsSilent = 15 * time.Second
	dnsWell   = 5 * time.Minute
)

// openResolver makes the one resolver of the house.
func (h *house) openResolver() {
	c := h.config
	h.resolver = resolve.New(resolve.Options{
		Servers: c.DNSServers, Timeout: c.DNSTimeout, TrustAD: c.DNSTrustAD == "on", IgnoreAD: c.DNSTrustAD == "off",
		Logger: h.logger.With("part", "dns"),
	})
}

// watchDNS says in the log when no DNS answers, and when it does again. It decides nothing: each verdict that needs an answer and gets
// none says so itself. silent and well are how long it waits between two looks.
func (h *house) watchDNS(ctx context.Context, silent, well time.Duration) error {
	answered, first := true, true
	for {
		err := h.resolver.Alive(ctx)
		if ctx.Err() != nil {
			return nil
		}
		servers, trusted := h.resolver.Servers()
		switch {
		case err != nil && answered:
			h.logger.Warn("no DNS answers: nothing is refused for missing DNS; checks of senders that need it stay open or ask the sender to come again, and mail to other servers waits", "servers", servers, "error", err)
		case err == nil && !answered:
			h.logger.Info("the DNS answers again", "servers", servers, "validated", trusted)
		case err == nil && first:
			h.logger.Debug("the DNS answers", "servers", servers, "validated", trusted)
		}
		answered, first = err == nil, false
		wait := well
		if !answered {
			wait = silent
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}
