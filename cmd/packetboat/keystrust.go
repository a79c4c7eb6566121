package main

// trustConfig is what the configuration says about signing mail and securing the way to other servers.
type trustConfig struct{}

var trustKeys []key
