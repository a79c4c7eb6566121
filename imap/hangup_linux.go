package imap

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// hungUp looks what the kernel knows of the client's end, without reading what may be there to read. closed: nothing more will come, but the client may
// still listen; gone: it does not. Of a connection that cannot be asked nothing is known.
func hungUp(conn net.Conn) (closed, gone bool) {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return false, false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return true, true
	}
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		if _, err := unix.Poll(p, 0); err == nil {
			closed, gone = p[0].Revents&unix.POLLRDHUP != 0, p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		}
	})
	return closed, gone || err != nil
}
