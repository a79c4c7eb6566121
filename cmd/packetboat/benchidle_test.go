//go:build bench

package main

import (
	"fmt"
	"strings"
	"syscall"
	"time"
)

// waiting opens sessions in IDLE, sees what memory they take, and how long each waits to hear of a message. Dovecot gets a
// tenth of the sessions: it starts a process for each.
func (c *comparison) waiting() {
	sessions := fromEnv(c.t, "BENCH_IDLE", 5000)
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	for _, secure := range []bool{false, true} {
		how := map[bool]string{true: ", TLS", false: ""}[secure]
		for i, v := range c.rivals {
			n, settle := sessions, 75*time.Second // until garbage is collected and stacks are given back
			if i > 0 {
				n, settle = max(1, sessions/10), 5*time.Second
			}
			if err := c.idle(v, n, settle, secure, how); err != nil {
				c.t.Errorf("IDLE, %s: %v", v.name, err)
			}
		}
	}
}

func (c *comparison) idle(v *rival, n int, settle time.Duration, secure bool, how string) error {
	before := memoryOf(v.pid)
	var all []*imapConn
	defer func() {
		for _, conn := range all {
			conn.Close()
		}
	}()
	for range n {
		conn, err := v.dial(secure)
		if err != nil {
			return fmt.Errorf("session %d: %w", len(all), err)
		}
		all = append(all, conn)
		// the client's own memory is in another process
		if _, err := conn.do("SELECT Other"); err != nil {
			return err
		}
		conn.send("IDLE")
		if line, err := conn.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "+") {
			return fmt.Errorf("IDLE: %q, %w", line, err)
		}
		conn.r = nil
	}
	time.Sleep(settle)
	r := c.row("memory of a session in IDLE, KiB"+how, 0, true)
	r.cells[v.name] = append(r.cells[v.name], float64(memoryOf(v.pid)-before)/1024/float64(n))
	writer, err := v.dial(false)
	if err != nil {
		return err
	}
	defer writer.Close()
	m := newLetters().mail(3)
	r = c.row("APPEND to EXISTS in the last of 500 sessions in IDLE, ms"+how, 0, true)
	rounds := 10
	if v != c.rivals[0] {
		rounds = 3 // Dovecot, where inotify instances run out, looks every half minute
	}
	for range rounds {
		heard := make(chan error, 500)
		for _, conn := range all[:min(500, n)] {
			go func() {
				conn.SetDeadline(time.Now().Add(60 * time.Second))
				b := make([]byte, 512)
				for text := ""; !strings.Contains(text, " EXISTS"); {
					k, err := conn.Read(b)
					if err != nil {
						heard <- err
						return
					}
					text += string(b[:k])
				}
				heard <- nil
			}()
		}
		time.Sleep(200 * time.Millisecond)
		start := time.Now()
		if err := writer.append("Other", [][]byte{m}, mailDate); err != nil {
			return err
		}
		for range min(500, n) {
			if err := <-heard; err != nil {
				return err
			}
		}
		r.cells[v.name] = append(r.cells[v.name], float64(time.Since(start).Microseconds())/1000)
	}
	return nil
}
