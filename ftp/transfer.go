package ftp

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// transfer is a command that uses a data connection, from its checks to its last reply:
//
//	prepared --start--> running --150--> data --226--> done
//	                       \--4xx, 5xx      \--425, 426, 451, 552--> failed
type transfer struct {
	c       *client
	verb    string // as the engine knows it
	path    string
	off     int64 // REST, or where RANG begins
	end     int64 // one past the last byte of RANG; 0: there is none
	ascii   bool  // line ends are converted
	append  bool
	size    int64 // of all the file, announced by ALLO; 0: unknown
	unique  bool  // STOU: nothing may be replaced
	creates bool
	d       *dataConn
	bytes   atomic.Int64 // that moved
	noted   time.Time    // when the activity was last brought up to date

	run     func(t *transfer) error
	release func()      // gives up the name that STOU chose; nil: none
	opening string      // text of 150
	begun   atomic.Bool // 150 was sent
	silent  bool        // there is no 150
	done    func()      // writes the last reply of a success; nil: 226
}

// newTransfer takes over what PASV or PORT prepared.
func (c *client) newTransfer(verb, path string, run func(*transfer) error) (*transfer, error) {
	switch {
	case c.srv.o.RequireDataTLS && !c.protect:
		return nil, refuse(521, "Data connections must be private: send PROT P.")
	case c.plan == nil:
		return nil, refuse(425, "Send PASV, EPSV, PORT or EPRT first.")
	}
	t := &transfer{c: c, verb: verb, path: path, d: c.plan, run: run, opening: "Here it comes."}
	t.d.t, t.d.secure = t, c.protect
	c.plan = nil
	return t, nil
}

func (t *transfer) what() string { return t.verb + " " + t.path }

// abort cuts the transfer, from any goroutine.
func (t *transfer) abort(why error) { t.d.abort(why) }

// started sends the 150.
func (t *transfer) started() {
	if !t.begun.Load() {
		t.c.reply(150, t.opening)
		t.begun.Store(true)
		t.c.flush()
	}
}

// moved counts bytes and from time to time tells the session list.
func (t *transfer) moved(n int64) {
	total := t.bytes.Add(n)
	if now := time.Now(); now.Sub(t.noted) > time.Second {
		if !t.noted.IsZero() {
			t.c.sess.SetActivity(t.what() + " " + humanBytes(total))
		}
		t.noted = now
	}
}

func humanBytes(n int64) string {
	switch {
	case n >= 1e9:
		return strconv.FormatFloat(float64(n)/1e9, 'f', 1, 64) + " GB"
	case n >= 1e6:
		return strconv.FormatFloat(float64(n)/1e6, 'f', 1, 64) + " MB"
	case n >= 1e3:
		return strconv.FormatFloat(float64(n)/1e3, 'f', 1, 64) + " kB"
	}
	return strconv.FormatInt(n, 10) + " B"
}

// transfer runs t to its last reply.
func (c *client) transfer(t *transfer) {
	c.sess.Open(t.path)
	begin := time.Now()
	if t.release != nil {
		defer t.release()
	}
	err := t.run(t)
	switch {
	case err == nil:
		t.d.close()
	case t.begun.Load():
		t.d.cut()
	}
	c.mu.Lock()
	c.cur = nil
	c.mu.Unlock()
	c.sess.Open(c.cwd)
	if n := t.bytes.Load(); n > 0 {
		c.sess.SetActivity(t.what() + " " + humanBytes(n))
	}
	log := c.log.Info
	if t.verb == "LIST" || t.verb == "NLST" || t.verb == "MLSD" || t.done != nil {
		log = c.log.Debug
	}
	log("transfer", "verb", t.verb, "path", t.path, "bytes", t.bytes.Load(), "took", time.Since(begin), "error", err)
	switch {
	case err == nil && t.done != nil:
		t.done()
	case err == nil:
		c.reply(226, "Transfer complete.")
	case !t.begun.Load():
		c.fail(err, t.path, t.creates)
		c.flush()
		c.cutSoon(t.d)
	default:
		c.fail(transferError(err), "", t.creates)
	}
	c.sess.Done()
	c.flush()
}

// transferError gives errors of the tree in the middle of a transfer the codes that RFC 959 section 5.4 has for it.
func transferError(err error) error {
	if a := replyOf(err, true); a.code == 450 || a.code == 452 || a.code == 550 {
		return &errorAnswer{answer{451, a.text}, err}
	}
	return err
}

// ofFile prepares a transfer of one file.
func (c *client) ofFile(verb, arg string) (*transfer, error) {
	p, err := c.resolve(arg)
	switch {
	case err != nil:
		return nil, err
	case c.converts() && c.rest+c.until > 0:
		return nil, refuse(551, "Offsets are of bytes: send TYPE I first.")
	}
	t, err := c.newTransfer(verb, p, viaEngine)
	if err != nil {
		return nil, err
	}
	t.off, t.end, t.ascii = c.rest, c.until, c.converts()
	return t, nil
}

func (c *client) cmdRetr(arg string) (*transfer, error) { return c.ofFile("RETR", arg) }

func (c *client) cmdStor(arg string) (*transfer, error) {
	size := c.takeAnnounced()
	t, err := c.ofFile("STOR", arg)
	if err == nil {
		t.size = size
	}
	return t, err
}

// cmdAppe: RFC 3659 section 5.3: after REST it acts identically to STOR.
func (c *client) cmdAppe(arg string) (*transfer, error) {
	size := c.takeAnnounced()
	t, err := c.ofFile("APPE", arg)
	if err != nil {
		return nil, err
	}
	if t.size = size; t.off == 0 && t.end == 0 {
		t.off = c.appendAt(t.path)
		t.append = t.off == 0
	}
	return t, nil
}

// takeAnnounced is what ALLO said of the upload that follows it, and of no other.
func (c *client) takeAnnounced() int64 {
	n := c.announced
	c.announced = 0
	return n
}

// appendAt is where an APPE goes on, or 0 for the end of what there is: of the file (RFC 959 section 4.1.3), else of a part that was left by a
// cut upload. Where there are both, a client that asked for SIZE was told of the file, and sends what comes behind that many bytes.
func (c *client) appendAt(path string) int64 {
	if c.told.path != path || c.told.size == 0 {
		return 0
	}
	if n, err := c.tree.Partial(c.ctx, path); err != nil || n == c.told.size {
		return 0
	}
	return c.told.size
}

// cmdStou: RFC 959 section 4.1.3, the reply as in RFC 1123 section 4.1.2.9. An argument, which many clients send, is the name to begin with.
func (c *client) cmdStou(arg string) (*transfer, error) {
	size := c.takeAnnounced()
	if arg == "" {
		arg = "stou-" + time.Now().UTC().Format(timeLayout)
	}
	base, err := c.resolve(arg)
	if err != nil {
		return nil, err
	}
	name, release, err := c.uniqueName(base)
	if err != nil {
		return nil, err
	}
	t, err := c.newTransfer("STOR", name, viaEngine)
	if err != nil {
		release()
		return nil, err
	}
	t.unique, t.size, t.release = true, size, release
	t.opening = "FILE: " + name
	return t, nil
}

// uniqueName finds a name that is free, beginning with base, and keeps it: another session that looks for one at the same time gets another.
func (c *client) uniqueName(base string) (name string, release func(), err error) {
	name = base
	for i := 1; i <= 1000; i++ {
		_, err := c.tree.Stat(c.ctx, name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if release, ok := c.tree.Reserve(name); ok {
				return name, release, nil
			}
		case errors.Is(err, fs.ErrPermission): // a drop box does not tell which names are taken
			return base + "." + strings.ToLower(rand.Text()[:8]), func() {}, nil
		case err != nil:
			return "", nil, err
		}
		name = base + "." + strconv.Itoa(i)
	}
	return "", nil, refuse(450, "No unique name found.")
}

// viaEngine has the engine run the transfer.
func viaEngine(t *transfer) error {
	err := t.c.engine().transfer(t)
	if errors.Is(err, errEngineClosed) {
		t.c.dropEngine()
	}
	return err
}

// cmdAbor is what is left of an ABOR: the transfer, if there was one, was cut when the line came (RFC 959 section 4.1.3).
func (c *client) cmdAbor(string) {
	c.dropPlan()
	c.reply(226, "Nothing is being transferred now.")
}
