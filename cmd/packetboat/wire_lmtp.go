package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// bindLMTPSocket adds the socket of lmtp.socket, if there is to be one, to the listeners.
func (h *house) bindLMTPSocket() error {
	path := h.config.LMTPSocket
	if path == "" {
		return nil
	}
	at := fmt.Sprintf("%s: lmtp.socket = %q", h.settings["lmtp.socket"].from, path)
	if old, err := os.Lstat(path); err == nil {
		if old.Mode()&os.ModeSocket == 0 {
			return fmt.Errorf("%s: there is something else of that name", at)
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return fmt.Errorf("%s: another program serves it", at)
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path) // left by a crash
		}
	}
	// For its owner and group from its first moment. That of the process is changed for this call alone.
	old := syscall.Umask(0o117)
	ln, err := net.Listen("unix", path)
	syscall.Umask(old)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	h.bound["lmtp"] = append(h.bound["lmtp"], ln)
	return nil
}
