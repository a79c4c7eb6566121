package main

import (
	"context"
	"time"

	"github.com/packetboat/packetboat/console"
)

// consoleIdle ends an HTTP session that says nothing; net/http says goodbye to one between requests before that.
const consoleIdle = 90 * time.Second

// console makes the server of the listeners http and https.
func (h *house) console(implicit bool) *console.Server {
	c := h.config
	o := console.Options{Name: c.clientHost(), HTTPS: c.told("https"), Services: c.offered(), Policy: c.policy(),
		TrustedCA: c.TLSCert != "", Domains: h.domains, Logger: h.logger}
	if implicit {
		for _, fault := range c.enforcedInVain(h.certs.chain()) {
			h.logger.Warn("the MTA-STS policy is enforced, and servers that follow it can deliver nothing", "reason", fault)
		}
		o.TLS = h.certs.config()
	}
	return console.New(o)
}

// coverDomains has the local CA's certificate name all domains.
func (h *house) coverDomains(ctx context.Context) {
	all, err := h.domains(ctx)
	if err == nil {
		err = h.certs.cover(h.dir, h.config, all)
	}
	if err != nil {
		h.logger.Warn("the server's certificate lacks names of domains", "error", err)
	}
}
