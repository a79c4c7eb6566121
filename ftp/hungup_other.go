//go:build !linux

package ftp

import "net"

// hungUp cannot be told here without reading; the goroutine that reads the control connection notices.
func hungUp(net.Conn) bool { return false }
