//go:build !linux

package ftp

import "net"

// hungUp cannot be told here without reading; the goroutine that reads the control connection notices.
func hungUp(net.Conn) bool { return false }

// unsent cannot be told here: a peer that takes less than half of the kernel's buffer within the stall time is cut.
func unsent(*net.TCPConn) int { return -1 }
