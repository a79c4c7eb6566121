//go:build !linux

package storage

import "time"

func nap(d time.Duration) { time.Sleep(d) }
