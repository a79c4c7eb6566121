package main

// submissionConfig is what the configuration says about mail that accounts send.
type submissionConfig struct{}

var submissionKeys []key
