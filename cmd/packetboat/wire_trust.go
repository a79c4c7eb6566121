package main

import (
	"context"

	"github.com/packetboat/packetboat/smtp/outbound"
)

// openTrust makes what says how far other servers are trusted, and what signs our mail. Both do their housekeeping until ctx ends.
func (h *house) openTrust(ctx context.Context) error {
	c := h.config
	roots, err := c.outboundRoots()
	if err != nil {
		return err
	}
	h.policies = outbound.NewPolicies(h.store, h.resolver, outbound.PolicyOptions{
		Logger: h.logger, Roots: roots, Port: c.OutboundPort, HTTPSPort: c.OutboundMTASTSPort,
		NoSTS: !c.OutboundMTASTS, NoDANE: !c.OutboundDANE, NoReports: !c.OutboundTLSReports,
		ReportsFrom: c.ReportsFrom, AnyAddress: c.ReportsPrivate,
	})
	h.signer = outbound.NewSigner(h.store, outbound.SignOptions{
		Logger: h.logger, Name: c.Hostname, Resolver: h.resolver, Expire: c.DKIMExpire, Rotate: c.DKIMRotate, NoSign: !c.DKIMSign, NoSeal: !c.ARCSeal,
	})
	h.spawn("policies", func() error { return h.policies.Run(ctx) })
	if h.dmarc != nil {
		h.spawn("dmarc reports", func() error { return h.dmarc.Run(ctx) })
	}
	h.spawn("keys", func() error { return h.signer.Run(ctx) })
	return nil
}
