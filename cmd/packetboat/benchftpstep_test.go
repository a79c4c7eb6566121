//go:build bench

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestFTPStep runs the one step that TestBenchFTP wants, in the network namespace that it was started in; by itself it has nothing to do.
func TestFTPStep(t *testing.T) {
	text := os.Getenv("BENCH_FTP_STEP")
	if text == "" {
		return
	}
	pipe := os.NewFile(3, "result")
	defer pipe.Close()
	var s ftpStep
	err := json.Unmarshal([]byte(text), &s)
	var r ftpResult
	if err == nil {
		r, err = s.run()
	}
	if err != nil {
		r.Failure = err.Error()
	}
	if err := json.NewEncoder(pipe).Encode(r); err != nil {
		t.Error(err)
	}
}

// run starts the server, does the step and ends the server.
func (s *ftpStep) run() (ftpResult, error) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		return ftpResult{}, fmt.Errorf("loopback: %w: %s", err, out)
	}
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil && limit.Cur < limit.Max {
		limit.Cur = limit.Max
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	var cmd *exec.Cmd
	x := &ftpRun{ftpStep: s, user: ftpPeerUser, password: ftpPeerPassword}
	if s.Rival.ours() {
		x.addr, x.user, x.password = "127.0.0.1:20021", ftpUser, annPassword
		cmd = exec.Command(os.Getenv("PACKETBOAT_BINARY"), append([]string{"serve", "--data", s.Rival.Dir, "--base-port", "20000", "--domain", "example.test"}, s.Rival.Args...)...)
	} else {
		var err error
		if cmd, err = s.Rival.peer(s.Secure); err != nil {
			return ftpResult{}, err
		}
		x.addr = fmt.Sprintf("127.0.0.1:%d", ftpPeerPort)
	}
	log, err := os.Create(filepath.Join(filepath.Dir(s.Rival.Dir), s.Rival.Kind+".out"))
	if err != nil {
		return ftpResult{}, err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return ftpResult{}, err
	}
	defer endTree(cmd)
	x.pid = cmd.Process.Pid
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := x.dial() // the first login also fills caches of passwords
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			b, _ := os.ReadFile(log.Name())
			return ftpResult{}, fmt.Errorf("%s does not let in: %w\n%s", s.Rival.Kind, err, b)
		}
	}
	return x.do()
}

// endTree ends a server with all its processes.
func endTree(cmd *exec.Cmd) {
	all := treeOf(cmd.Process.Pid)
	cmd.Process.Signal(syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		cmd.Process.Kill()
		<-done
	}
	for _, pid := range all[1:] { // those that did not end with it
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// ftpRun is a step that runs.
type ftpRun struct {
	*ftpStep
	addr, user, password string
	pid                  int
	conns                []*ftpConn
}

func (x *ftpRun) dial() (*ftpConn, error) { return dialFTP(x.addr, x.Secure, x.user, x.password) }

func (x *ftpRun) do() (ftpResult, error) {
	if x.Kind == "idle" {
		return x.idle()
	}
	if x.Kind != "login" {
		for range x.Sessions {
			c, err := x.dial()
			if err == nil {
				err = c.ready()
			}
			if err != nil {
				return ftpResult{}, err
			}
			defer c.Close()
			x.conns = append(x.conns, c)
		}
	}
	switch x.Kind {
	case "login":
		return x.measure(x.Count, func(int, int) error {
			c, err := x.dial()
			if err == nil {
				_, err = c.do('2', "QUIT")
				c.Close()
			}
			return err
		})
	case "large":
		return x.large()
	case "small", "fill":
		return x.small()
	case "list":
		return x.list()
	}
	return ftpResult{}, errors.New("no such step: " + x.Kind)
}

// measure does n things over the sessions and notes how long that took, and what the server's processes.
func (x *ftpRun) measure(n int, one func(session, i int) error) (ftpResult, error) {
	cpu, start := cpuOf(x.pid), time.Now()
	var next atomic.Int64
	errs := make([]error, x.Sessions)
	var all sync.WaitGroup
	for session := range x.Sessions {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[session] == nil; i = int(next.Add(1)) - 1 {
				errs[session] = one(session, i)
			}
		})
	}
	all.Wait()
	r := ftpResult{Units: n, Took: time.Since(start)}
	r.CPU = cpuOf(x.pid) - cpu
	return r, errors.Join(errs...)
}

func (x *ftpRun) large() (ftpResult, error) {
	name := func(i int) string { return fmt.Sprintf("large%d.bin", i) }
	sum, bufs := ftpSum(x.Size), make([][]byte, x.Sessions)
	if x.Command == "STOR" {
		for i := range x.Sessions {
			x.conns[i].do('2', "DELE "+name(i)) // of the pass before
		}
	}
	r, err := x.measure(x.Sessions, func(session, i int) error {
		if x.Command == "STOR" {
			return x.conns[session].upload(name(i), func(w io.Writer) error { return ftpSend(w, x.Size) })
		}
		if bufs[session] == nil {
			bufs[session] = make([]byte, 256<<10)
		}
		return x.conns[session].download("RETR "+name(i), func(r io.Reader) error { return ftpTake(r, bufs[session], x.Size, sum) })
	})
	r.Bytes = x.Size * int64(x.Sessions)
	return r, err
}

// small moves the files of a folder; a download finds those of the upload before it, and compares every byte.
func (x *ftpRun) small() (ftpResult, error) {
	name := func(i int) string { return fmt.Sprintf("%s/file-%06d.bin", x.Folder, i) }
	if x.Command != "RETR" {
		x.conns[0].do('2', "MKD "+x.Folder)
		if _, err := x.measure(x.Count, func(session, i int) error {
			x.conns[session].do('2', "DELE "+name(i)) // of the pass before
			return nil
		}); err != nil {
			return ftpResult{}, err
		}
		return x.measure(x.Count, func(session, i int) error {
			return x.conns[session].upload(name(i), func(w io.Writer) error {
				_, err := w.Write(ftpContent(i, x.Size))
				return err
			})
		})
	}
	bufs := make([][]byte, x.Sessions)
	return x.measure(x.Count, func(session, i int) error {
		if bufs[session] == nil {
			bufs[session] = make([]byte, x.Size+1)
		}
		return x.conns[session].download("RETR "+name(i), func(r io.Reader) error {
			n, err := io.ReadFull(r, bufs[session])
			if err != io.ErrUnexpectedEOF || !bytes.Equal(bufs[session][:n], ftpContent(i, x.Size)) {
				return fmt.Errorf("%s is not what was sent: %d bytes, %w", name(i), n, err)
			}
			return nil
		})
	})
}

// list lists a folder some times.
func (x *ftpRun) list() (ftpResult, error) {
	if _, err := x.conns[0].do('2', "CWD "+x.Folder); err != nil {
		return ftpResult{}, err
	}
	times := max(1, 30_000/x.Count)
	buf := make([]byte, 256<<10)
	r, err := x.measure(times, func(int, int) error {
		lines := 0
		err := x.conns[0].download(x.Command, func(r io.Reader) error {
			for {
				n, err := r.Read(buf)
				lines += bytes.Count(buf[:n], []byte("\n"))
				if err == io.EOF {
					return nil
				}
				if err != nil {
					return err
				}
			}
		})
		if err == nil && (lines < x.Count || lines > x.Count+3) { // "total", . and ..
			err = fmt.Errorf("%d lines", lines)
		}
		return err
	})
	r.Units = times * x.Count
	return r, err
}

// idle opens sessions that have listed and downloaded nothing, and sees what memory they take.
func (x *ftpRun) idle() (ftpResult, error) {
	time.Sleep(x.Settle) // what the first login left
	before := memoryOf(x.pid)
	x.Sessions = 8
	conns := make([]*ftpConn, x.Count)
	defer func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	}()
	r, err := x.measure(x.Count, func(_, i int) (err error) {
		conns[i], err = x.dial()
		return err
	})
	if err != nil {
		return r, err
	}
	time.Sleep(x.Settle)
	r.Whole = memoryOf(x.pid)
	r.Memory = r.Whole - before
	for _, c := range conns { // all of them live
		if _, err := c.do('2', "NOOP"); err != nil {
			return r, err
		}
	}
	return r, nil
}
