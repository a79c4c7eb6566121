//go:build bench

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// imapConn is a client that does little, so that what is measured is the server's: it counts untagged responses and skips literals.
type imapConn struct {
	net.Conn
	r    *bufio.Reader
	tag  int
	last string // the last line that began with "* " and was no FETCH
}

func dialIMAP(addr string, conf *tls.Config) (*imapConn, error) {
	var conn net.Conn
	var err error
	if conf != nil {
		conn, err = tls.Dial("tcp", addr, conf)
	} else {
		conn, err = net.Dial("tcp", addr)
	}
	if err != nil {
		return nil, err
	}
	c := &imapConn{Conn: conn, r: bufio.NewReaderSize(conn, 256<<10)}
	if _, err := c.r.ReadSlice('\n'); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *imapConn) login(user, password string) error {
	_, err := c.do("LOGIN %s %q", user, password)
	return err
}

// do runs a command and returns how many FETCH responses came; of a SEARCH, SORT or THREAD, how many numbers.
func (c *imapConn) do(format string, args ...any) (int, error) {
	tag := c.send(format, args...)
	return c.wait(tag)
}

// send sends a command and returns its tag.
func (c *imapConn) send(format string, args ...any) string {
	c.tag++
	tag := "t" + strconv.Itoa(c.tag)
	c.SetDeadline(time.Now().Add(10 * time.Minute))
	fmt.Fprintf(c, tag+" "+format+"\r\n", args...)
	return tag
}

// wait reads up to a tagged response.
func (c *imapConn) wait(tag string) (n int, err error) {
	before := byte(0) // the end of the piece of a long line that was read last
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil && err != bufio.ErrBufferFull {
			return n, err
		}
		if before != 0 || err != nil { // a piece of a long list
			n += numbers(line)
			if digit(before) && digit(line[0]) {
				n-- // cut in two
			}
			if before = line[len(line)-1]; err == nil {
				before = 0
			}
			continue
		}
		// What the line is comes first: reading on overwrites it.
		switch {
		case line[0] == '*':
			if bytes.Contains(line[:min(24, len(line))], []byte(" FETCH ")) {
				n++
			} else {
				c.last = string(line[:min(len(line), 200)])
				if word, rest, ok := bytes.Cut(line[2:], []byte(" ")); ok && (string(word) == "SEARCH" || string(word) == "SORT" || string(word) == "THREAD") {
					n += numbers(rest)
				}
			}
		case bytes.HasPrefix(line, []byte(tag+" ")):
			if !bytes.HasPrefix(line[len(tag)+1:], []byte("OK")) {
				return n, fmt.Errorf("%s", bytes.TrimSpace(line))
			}
			return n, nil
		}
		if err := c.literals(line); err != nil {
			return n, err
		}
	}
}

func digit(b byte) bool { return b >= '0' && b <= '9' }

// numbers counts those that are written in decimal.
func numbers(b []byte) (n int) {
	in := false
	for _, ch := range b {
		if digit(ch) && !in {
			n++
		}
		in = digit(ch)
	}
	return n
}

// literals skips those of a response whose first line is given.
func (c *imapConn) literals(line []byte) error {
	for {
		end := len(line) - 2
		if end < 1 || line[end-1] != '}' || line[end] != '\r' {
			return nil
		}
		at := bytes.LastIndexByte(line[:end], '{')
		size, err := strconv.Atoi(string(line[at+1 : end-1]))
		if at < 0 || err != nil {
			return nil
		}
		if _, err := c.r.Discard(size); err != nil {
			return err
		}
		if line, err = c.r.ReadSlice('\n'); err != nil {
			return err
		}
	}
}

// append appends messages, as many commands in flight as the server reads.
func (c *imapConn) append(box string, mails [][]byte, date func(int) time.Time) error {
	errs := make(chan error, 1)
	first := c.tag + 1
	go func() {
		for i := range mails {
			if _, err := c.wait("t" + strconv.Itoa(first+i)); err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	w := bufio.NewWriterSize(c.Conn, 256<<10)
	c.SetDeadline(time.Now().Add(time.Hour))
	for i, m := range mails {
		c.tag++
		fmt.Fprintf(w, "t%d APPEND %s \"%s\" {%d+}\r\n", c.tag, box, date(i).Format("02-Jan-2006 15:04:05 -0700"), len(m))
		w.Write(m)
		w.WriteString("\r\n")
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return <-errs
}

// multiappend appends messages with one command (RFC 3502).
func (c *imapConn) multiappend(box string, mails [][]byte, date func(int) time.Time) error {
	c.tag++
	c.SetDeadline(time.Now().Add(time.Hour))
	w := bufio.NewWriterSize(c.Conn, 256<<10)
	fmt.Fprintf(w, "t%d APPEND %s", c.tag, box)
	for i, m := range mails {
		fmt.Fprintf(w, " \"%s\" {%d+}\r\n", date(i).Format("02-Jan-2006 15:04:05 -0700"), len(m))
		w.Write(m)
	}
	w.WriteString("\r\n")
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := c.wait("t" + strconv.Itoa(c.tag))
	return err
}

// treeOf are a process and those it started, and theirs.
func treeOf(root int) []int {
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		text := procFile(fmt.Sprintf("/proc/%d/task/%d/children", pids[i], pids[i]))
		for _, f := range strings.Fields(text) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// cpuOf is the CPU time of a tree of processes, with what ended children of each took.
func cpuOf(root int) time.Duration {
	var ticks int64
	for _, pid := range treeOf(root) {
		text := procFile(fmt.Sprintf("/proc/%d/stat", pid))
		f := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		for i := 11; i <= 14 && i < len(f); i++ {
			n, _ := strconv.ParseInt(f[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// memoryOf is the proportional set size of a tree of processes, in bytes: pages that several share are counted once.
func memoryOf(root int) (sum int64) {
	for _, pid := range treeOf(root) {
		for _, line := range strings.Split(procFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				sum += n << 10
			}
		}
	}
	return sum
}
