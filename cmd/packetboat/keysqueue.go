package main

// queueConfig is what the configuration says about the queue, its webhooks and what is suppressed.
type queueConfig struct{}

var queueKeys []key
