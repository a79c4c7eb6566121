package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	ftpserver "github.com/fclairamb/ftpserverlib"
	"github.com/spf13/afero"

	"github.com/packetboat/packetboat/storage/vfs"
)

// libEngine is ftpserverlib behind the seam: one FtpServer for one session, over a connection in memory whose Write is
// the parser of the replies and whose other end is call and transfer. The library never hears of TLS, addresses or passwords. It waits
// for each command's last reply, so the library's own goroutines never overlap.
type libEngine struct {
	tree *vfs.Tree
	ctx  context.Context

	lines   chan string // to the library; capacity 1: one command at a time
	replies chan int    // codes of final replies
	part    []byte      // of a line the library writes; touched by its goroutines, one at a time
	once    sync.Once
	closed  chan struct{}
	wg      sync.WaitGroup // the library's goroutines: Serve, and the one that reads commands

	// Set before a line is sent, read by the library's goroutines while it runs.
	t     *transfer
	moved bool  // t.move was called
	err   error // of the driver, of the last command
}

var errEngineClosed = errors.New("ftp engine closed")

// newLibEngine starts the library for a session. Its goroutine ends with close.
func newLibEngine(tree *vfs.Tree, ctx context.Context) engine {
	e := &libEngine{
		tree: tree, ctx: ctx,
		lines: make(chan string, 1), replies: make(chan int, 4), closed: make(chan struct{}),
	}
	srv := ftpserver.NewFtpServer(&libMain{e})
	srv.Logger = slog.New(slog.DiscardHandler)
	if err := srv.Listen(); err != nil { // only reads the settings, as the listener is given
		e.shut()
		return e
	}
	e.wg.Add(1) // until ClientDisconnected
	e.wg.Go(func() {
		srv.Serve() // takes the one connection, starts the library's goroutine and returns
	})
	for _, line := range []string{"", "USER session", "PASS session"} {
		if code, err := e.exchange(line); err != nil || code >= 400 {
			e.shut()
			break
		}
	}
	return e
}

// exchange sends a line (none if empty) and waits for the final reply.
func (e *libEngine) exchange(line string) (int, error) {
	if line != "" {
		select {
		case e.lines <- line + "\r\n":
		case <-e.closed:
			return 0, errEngineClosed
		}
	}
	select {
	case code := <-e.replies:
		return code, nil
	case <-e.closed:
		return 0, errEngineClosed
	}
}

func (e *libEngine) call(verb, arg string) error {
	e.err = nil
	code, err := e.exchange(verb + " " + arg)
	switch {
	case err != nil:
		return err
	case e.err != nil:
		return e.err
	case code >= 400 && verb == "CWD":
		return errNotFolder
	case code >= 400:
		return fmt.Errorf("ftpserverlib answered %d to %s", code, verb)
	}
	return nil
}

// transfer has the library run the command; its driver's GetHandle moves the bytes. The library's own data path is not used: it binds a
// port of the system's choice for every transfer, also when the driver brings its own connection, and with thousands of closed connections around
// that search costs more than the transfer (2,800 small files a second became 300).
func (e *libEngine) transfer(t *transfer) error {
	e.t, e.moved, e.err = t, false, nil
	defer func() { e.t = nil }()
	code, err := e.exchange(t.verb + " " + t.path)
	switch {
	case err != nil:
		return err
	case !e.moved:
		return fmt.Errorf("ftpserverlib answered %d to %s", code, t.verb)
	}
	return e.err
}

// shut lets every wait in the engine end; the library may call it.
func (e *libEngine) shut() { e.once.Do(func() { close(e.closed) }) }

func (e *libEngine) close() {
	e.shut()
	e.wg.Wait()
}

// Read gives the library the next line.
func (e *libEngine) Read(p []byte) (int, error) {
	select {
	case line := <-e.lines:
		if len(line) > len(p) {
			return 0, errEngineClosed
		}
		return copy(p, line), nil
	case <-e.closed:
		return 0, io.EOF
	}
}

// Write takes the library's replies apart. It is called in the library's goroutine, which may hold locks: it must not wait for the library.
func (e *libEngine) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' {
			if len(e.part) < 4 {
				e.part = append(e.part, b)
			}
			continue
		}
		if len(e.part) == 4 && e.part[3] == ' ' {
			e.final(int(e.part[0]-'0')*100 + int(e.part[1]-'0')*10 + int(e.part[2]-'0'))
		}
		e.part = e.part[:0]
	}
	return len(p), nil
}

func (e *libEngine) final(code int) {
	select {
	case e.replies <- code:
	case <-e.closed:
	}
}

func (e *libEngine) Close() error                     { e.shut(); return nil }
func (e *libEngine) LocalAddr() net.Addr              { return memAddr }
func (e *libEngine) RemoteAddr() net.Addr             { return memAddr }
func (e *libEngine) SetDeadline(time.Time) error      { return nil }
func (e *libEngine) SetReadDeadline(time.Time) error  { return nil }
func (e *libEngine) SetWriteDeadline(time.Time) error { return nil }

var memAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}

// onceListener gives out one connection. Its second Accept says what the library takes for a proper end, which lets Serve return.
type onceListener struct {
	conn net.Conn
	used bool
}

func (l *onceListener) Accept() (net.Conn, error) {
	if l.used {
		return nil, &net.OpError{Op: "accept", Err: errors.New("use of closed network connection")}
	}
	l.used = true
	return l.conn, nil
}

func (l *onceListener) Close() error   { return nil }
func (l *onceListener) Addr() net.Addr { return memAddr }

// libMain is the library's MainDriver.
type libMain struct{ e *libEngine }

func (m *libMain) GetSettings() (*ftpserver.Settings, error) {
	return &ftpserver.Settings{
		Listener:               &onceListener{conn: m.e},
		IdleTimeout:            -1,
		DisableActiveMode:      true,
		DisableASCIIConversion: true,
		DisableLISTArgs:        true,
		DefaultTransferType:    ftpserver.TransferTypeBinary,
	}, nil
}

func (m *libMain) ClientConnected(ftpserver.ClientContext) (string, error) { return "ready", nil }
func (m *libMain) ClientDisconnected(ftpserver.ClientContext)              { m.e.shut(); m.e.wg.Done() }
func (m *libMain) GetTLSConfig() (*tls.Config, error)                      { return nil, errors.ErrUnsupported }
func (m *libMain) AuthUser(ftpserver.ClientContext, string, string) (ftpserver.ClientDriver, error) {
	return &libDriver{m.e}, nil
}

// libDriver is the tree as the library wants it. Errors are noted in the engine, as the library's replies do not carry them.
type libDriver struct{ e *libEngine }

func (d *libDriver) note(err error) error {
	if err != nil {
		d.e.err = err
	}
	return err
}

// GetHandle is called where RETR, STOR and APPE open their file, and does the transfer. It always ends in an error, so that the
// library does not look for a data connection; the outcome is in the engine. The name and flags say the same as the transfer.
func (d *libDriver) GetHandle(string, int, int64) (ftpserver.FileTransfer, error) {
	t := d.e.t
	if t == nil {
		return nil, d.note(errEngineClosed)
	}
	d.note(t.move(d.e.ctx, d.e.tree))
	d.e.moved = true
	return nil, errMoved
}

var errMoved = errors.New("the transfer is done")

func (d *libDriver) Stat(name string) (fs.FileInfo, error) {
	info, err := d.e.tree.Stat(d.e.ctx, name)
	if err != nil {
		return nil, d.note(err)
	}
	return info, nil
}

func (d *libDriver) Mkdir(name string, _ os.FileMode) error {
	return d.note(d.e.tree.Mkdir(d.e.ctx, name))
}
func (d *libDriver) Remove(name string) error { return d.note(d.e.tree.RemoveFile(d.e.ctx, name)) }

// RemoveDir is RMD.
func (d *libDriver) RemoveDir(name string) error { return d.note(d.e.tree.RemoveDir(d.e.ctx, name)) }
func (d *libDriver) Rename(from, to string) error {
	return d.note(d.e.tree.Rename(d.e.ctx, from, to))
}
func (d *libDriver) Chmod(name string, mode os.FileMode) error {
	return d.note(d.e.tree.SetMode(d.e.ctx, name, mode))
}
func (d *libDriver) Chtimes(name string, _, mtime time.Time) error {
	return d.note(d.e.tree.SetModified(d.e.ctx, name, mtime))
}

// The rest of afero.Fs is never reached by the commands that the library is given.

func (d *libDriver) Name() string                       { return "packetboat" }
func (d *libDriver) Create(string) (afero.File, error)  { return nil, errors.ErrUnsupported }
func (d *libDriver) MkdirAll(string, os.FileMode) error { return errors.ErrUnsupported }
func (d *libDriver) Open(string) (afero.File, error)    { return nil, errors.ErrUnsupported }
func (d *libDriver) OpenFile(string, int, os.FileMode) (afero.File, error) {
	return nil, errors.ErrUnsupported
}
func (d *libDriver) RemoveAll(string) error       { return errors.ErrUnsupported }
func (d *libDriver) Chown(string, int, int) error { return errors.ErrUnsupported }
