//go:build !race

package ftp

const raced = false
