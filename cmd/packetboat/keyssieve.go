package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/managesieve"
	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
)

// sieveConfig is what the configuration says about accounts' filters.
type sieveConfig struct {
	SieveOff       bool
	SieveLimits    storage.SieveLimits
	SieveRedirects int
	SievePerDay    int
	SieveActions   int
	SieveSteps     int
	SieveMessage   int
	SieveTime      time.Duration
}

var sieveKeys = []key{
	{"ports.managesieve", "auto", "Where accounts manage their filters (ManageSieve, RFC 5804), port 4190.", port("managesieve")},
	{"sieve.run", "true", "Accounts' filters are run when mail comes in; false: all of it is kept.", func(c *config, v string) error {
		on := false
		err := boolInto(&on, v)
		c.SieveOff = !on
		return err
	}},
	{"sieve.max_size", "64KiB", "Size of a filter's text.", func(c *config, v string) error {
		n, err := parseSize(v)
		if err == nil && (n < 1<<10 || n > sieve.MaxScript) {
			err = fmt.Errorf("want 1KiB to %dKiB", sieve.MaxScript>>10)
		}
		c.SieveLimits.Size = n
		return err
	}},
	{"sieve.max_scripts", "32", "Filters that an account may have, of which one is active.", func(c *config, v string) error {
		return intInto(&c.SieveLimits.Scripts, v, 1, 1000)
	}},
	{"sieve.max_redirects", "5", "Addresses that a filter may send one message on to.", func(c *config, v string) error {
		return intInto(&c.SieveRedirects, v, 1, 100)
	}},
	{"sieve.max_redirects_per_day", "1000", "To how many addresses of other domains an account's filter may send mail on in a day, with its replies of vacation. What is beyond is kept.", func(c *config, v string) error {
		return intInto(&c.SievePerDay, v, 1, 1_000_000_000)
	}},
	{"sieve.max_actions", "32", "Things of all kinds that a filter may do with one message.", func(c *config, v string) error {
		return intInto(&c.SieveActions, v, 1, 1000)
	}},
	{"sieve.max_steps", "5000000", "How much a filter may compute for one message, in steps: a comparison of some bytes, a command. One that needs more has failed, and the message is kept.", func(c *config, v string) error {
		return intInto(&c.SieveSteps, v, 10_000, 1_000_000_000)
	}},
	{"sieve.max_message_steps", "100000000", "How much the filters of all recipients may compute for one message, in the same steps. When that is used up, the other recipients have the message unfiltered.", func(c *config, v string) error {
		return intInto(&c.SieveMessage, v, 10_000, 1_000_000_000)
	}},
	{"sieve.max_message_time", "1m", "How long the filters of all recipients may take for one message, for which its sender waits; then the same.", duration(func(c *config) *time.Duration { return &c.SieveTime })},
}

// filters are the accounts' filters, for all listeners.
func (h *house) filters() *smtp.Filters {
	c := h.config
	return smtp.NewFilters(h.store, smtp.FilterOptions{Off: c.SieveOff, MessageSteps: c.SieveMessage, MessageTime: c.SieveTime, PerDay: c.SievePerDay, Logger: h.logger,
		Limits: sieve.Limits{Steps: c.SieveSteps, Redirects: c.SieveRedirects, Actions: c.SieveActions}})
}

// scripts serves ManageSieve.
func (h *house) scripts() server {
	tls := h.certs.config()
	if h.clients != nil {
		tls = h.clients.config(tls)
	}
	return managesieve.New(h.store, h.door, managesieve.Options{Version: version, TLS: tls, Limits: h.config.SieveLimits, MaxRedirects: h.config.SieveRedirects, Logger: h.logger})
}

// sieveLimits are those of accounts' filters.
func (c *control) sieveLimits() storage.SieveLimits {
	if c.config == nil {
		return storage.SieveLimits{}
	}
	return c.config.SieveLimits
}

// handleRouting adds what the verbs alias, group, forward, sieve and domain catchall ask for.
func (c *control) handleRouting(handle func(pattern string, f func(r *http.Request) (any, error))) {
	handle("GET /aliases", c.aliases)
	handle("GET /groups", c.groups)
	handle("GET /groups/{name}", c.group)
	handle("PUT /groups/{name}", c.addGroup)
	handle("PATCH /groups/{name}", c.changeGroup)
	handle("DELETE /groups/{name}", c.removeGroup)
	handle("GET /domains/{name}/route", c.domainRoute)
	handle("PATCH /domains/{name}/route", c.changeDomainRoute)
	handle("GET /accounts/{name}/forwards", c.forwards)
	handle("PUT /accounts/{name}/forwards", c.setForward)
	handle("GET /accounts/{name}/sieve", c.sieveScripts)
	handle("GET /accounts/{name}/sieve/{script}", c.sieveScript)
	handle("PUT /accounts/{name}/sieve/{script}", c.putSieve)
	handle("DELETE /accounts/{name}/sieve/{script}", c.removeSieve)
	handle("POST /accounts/{name}/sieve-active", c.activateSieve)
}
