package main

// outboundConfig is what the configuration says about sending mail to other servers.
type outboundConfig struct{}

var outboundKeys []key
