package main

// consoleConfig is what the configuration says about the HTTP listener.
type consoleConfig struct{}

var consoleKeys []key
