//go:build !linux

package imap

import "net"

// hungUp cannot tell here.
func hungUp(net.Conn) (closed, gone bool) { return false, false }
