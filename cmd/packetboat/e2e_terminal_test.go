//go:build e2e

package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// onTerminal runs a client that wants a terminal, and gives what it drew. Nobody types: unlike behind script(1), whose input is at its
// end from the beginning, the client never reads an end of file, which some take for a hang-up before they have done anything.
func (b *boat) onTerminal(name string, args ...string) (string, error) {
	b.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		b.t.Fatalf("%s is not installed: run make tools", name)
	}
	screen, tty := b.terminal()
	defer screen.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, path, args...)
	home := b.t.TempDir()
	c.Env = append(os.Environ(), "HOME="+home, "LC_ALL=C.UTF-8", "TERM=xterm", "SSL_CERT_FILE="+b.ca())
	c.Dir = home
	c.Stdin, c.Stdout, c.Stderr = tty, tty, tty
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	err = c.Start()
	tty.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	drawn, _ := io.ReadAll(screen) // EIO when the last one closed the terminal
	return string(drawn), c.Wait()
}

// terminal makes a pseudo-terminal of 80 columns and 24 lines.
func (b *boat) terminal() (screen, tty *os.File) {
	b.t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	fd := int(screen.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	if err == nil {
		tty, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		screen.Close()
		b.t.Fatal(err)
	}
	return screen, tty
}
