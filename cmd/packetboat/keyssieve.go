package main

// sieveConfig is what the configuration says about accounts' filters.
type sieveConfig struct{}

var sieveKeys []key
