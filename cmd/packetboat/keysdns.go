package main

// dnsConfig is what the configuration says about asking the DNS.
type dnsConfig struct{}

var dnsKeys []key
