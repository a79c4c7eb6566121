package main

// receiveConfig is what the configuration says about judging mail of other servers.
type receiveConfig struct{}

var receiveKeys []key
