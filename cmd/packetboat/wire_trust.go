package main

import (
	"context"
	"time"

	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/storage"
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
	if err := h.openReports(ctx); err != nil {
		return err
	}
	h.spawn("keys", func() error { return h.signer.Run(ctx) })
	return nil
}

// openReports lets reports of DMARC be counted and sent until ctx ends, or forgets what was counted when that was switched off.
func (h *house) openReports(ctx context.Context) error {
	if from := h.config.ReportsFrom; from != "" {
		_, domain, _ := storage.ParseAddress(from) // it was read with the configuration
		if s, ok, err := report.SenderOf(ctx, h.store, from); err != nil {
			return err
		} else if ok && s.Domain != domain {
			h.logger.Warn("reports come from another address: reports.from is of no domain of ours", "address", from, "instead", s.Address)
		}
	}
	if h.dmarc != nil {
		h.spawn("dmarc reports", func() error { return h.dmarc.Run(ctx) })
		return nil
	}
	left, err := h.store.ReportsWaiting(ctx, storage.ReportDMARC, 1)
	if err != nil || len(left) == 0 {
		return err
	}
	return h.store.DropReports(ctx, storage.ReportDMARC, storage.TLSDay(time.Now()))
}
