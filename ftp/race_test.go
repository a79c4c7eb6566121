//go:build race

package ftp

// raced: SQLite is Go here too, and takes fifty times as long under the race detector.
const raced = true
