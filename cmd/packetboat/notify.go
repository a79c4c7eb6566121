package main

import (
	"net"
	"os"
)

// notifyService tells systemd about a change of state (sd_notify(3)); nothing happens when not run by it.
func notifyService(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	if path[0] == '@' { // an abstract socket
		path = "\x00" + path[1:]
	}
	c, err := net.Dial("unixgram", path)
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(state))
}
