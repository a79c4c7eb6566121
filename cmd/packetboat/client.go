package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// caller calls the control API, of the running server or in this process.
type caller struct {
	running bool
	do      func(*http.Request) (*http.Response, error)
	close   func() error
}

// dial finds the server of the data folder; when none runs it opens the store itself.
func (p *program) dial(ctx context.Context) (*caller, error) {
	dir, err := p.flags.dataDir()
	if err != nil {
		return nil, err
	}
	var c *caller
	err = patiently(ctx, func() (err error) {
		if c, err = dialRunning(dir); err == nil {
			return nil
		} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("reaching the running server: %w", err)
		}
		c, err = p.openStopped(ctx, dir)
		return err
	})
	return c, err
}

// openStopped opens the store of a server that does not run, and calls the control API in this process.
func (p *program) openStopped(ctx context.Context, dir string) (*caller, error) {
	if _, err := os.Stat(filepath.Join(dir, databaseName)); err != nil {
		return nil, fmt.Errorf("%s is no data folder yet (start one: packetboat serve; or name it: --data FOLDER)", dir)
	}
	c, _, err := p.flags.load(dir)
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	store, err := storage.Open(ctx, dir, c.store(logger))
	if err != nil {
		return nil, err
	}
	registry := session.New(session.Options{})
	h := (&control{store: store, door: auth.New(store, registry, auth.Options{}), registry: registry,
		config: c, chain: func() []*x509.Certificate { return chainOf(c, dir) }, logger: logger}).handler()
	return &caller{
		do: func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w.Result(), nil
		},
		close: store.Close,
	}, nil
}

// lockWait is how long the store is waited for while another process has it open: a verb that runs, a server that starts or ends.
const lockWait = 5 * time.Second

// patiently calls open until the store is not locked any more.
func patiently(ctx context.Context, open func() error) error {
	for deadline := time.Now().Add(lockWait); ; {
		err := open()
		switch {
		case !errors.Is(err, storage.ErrLocked):
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("%w (another packetboat: a verb that runs, or a server that starts or ends; try again when it is done)", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// dialRunning connects to control.sock of a data folder.
func dialRunning(dir string) (*caller, error) {
	path, done, err := socketPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return nil, err
	}
	conns := make(chan net.Conn, 1)
	conns <- conn
	t := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		select {
		case c := <-conns:
			return c, nil
		default:
			return nil, errors.New("the server closed the connection")
		}
	}}
	client := &http.Client{Transport: t, Timeout: time.Minute}
	return &caller{running: true, do: client.Do, close: func() error { t.CloseIdleConnections(); return nil }}, nil
}

// socketPath is the path of control.sock in dir in a form that fits into a socket address
// (108 bytes): a long one goes through the folder's file descriptor. done gives that back.
func socketPath(dir string) (path string, done func(), err error) {
	path = filepath.Join(dir, socketName)
	if len(path) < 100 {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), socketName), func() { d.Close() }, nil
}

// call sends in (or nothing) and reads the answer into out (or drops it).
func (c *caller) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	// A name becomes one element of the path, and these would lead elsewhere.
	names, _, _ := strings.Cut(path, "?")
	for name := range strings.SplitSeq(names[1:], "/") {
		if name == "" || name == "." || name == ".." {
			return usageError{fmt.Errorf("%q is no name", name)}
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://packetboat"+path, &body)
	if err != nil {
		return err
	}
	resp, err := c.do(r)
	if err != nil {
		return fmt.Errorf("asking the server: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<28))
	if err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		var e errorJSON
		if json.Unmarshal(text, &e) != nil || e.Error == "" {
			return fmt.Errorf("the server answered %s: %s", resp.Status, strings.TrimSpace(string(text)))
		}
		return errors.New(e.Error)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

// with dials, runs f and closes.
func (p *program) with(ctx context.Context, f func(*caller) error) error {
	c, err := p.dial(ctx)
	if err != nil {
		return err
	}
	return errors.Join(f(c), c.close())
}
