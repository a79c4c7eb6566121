package ftp

import (
	"context"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
)

// rights sets what ann may do with a path; "" takes it back.
func (h *house) rights(path, rights string) {
	h.t.Helper()
	var err error
	if rights == "" {
		err = h.store.DropPathRights(context.Background(), h.ann.ID, path)
	} else {
		var r storage.PathRights
		if r, err = storage.ParsePathRights(rights); err == nil {
			err = h.store.SetPathRights(context.Background(), h.ann.ID, path, r)
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) jail(path string) {
	h.t.Helper()
	if err := h.store.SetJail(context.Background(), h.ann.ID, path); err != nil {
		h.t.Fatal(err)
	}
}

// accessCommands are what scripts say of rights: rights PATH RIGHTS, jail PATH, folder PATH, gone PATH.
func accessCommands(h *house) map[string]func(testing.TB, ...string) {
	whole := h.fs.Whole(h.ann)
	return map[string]func(testing.TB, ...string){
		"rights": func(_ testing.TB, args ...string) { h.rights(args[0], args[1]) },
		"jail":   func(_ testing.TB, args ...string) { h.jail(args[0]) },
		"folder": func(t testing.TB, args ...string) {
			if err := whole.MkdirAll(context.Background(), args[0]); err != nil {
				t.Fatal(err)
			}
		},
		"gone": func(t testing.TB, args ...string) {
			if err := whole.RemoveDir(context.Background(), args[0]); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// guestDial connects to a server of the same house that lets the anonymous into ann's tree.
func guestDial(h *house) func(context.Context) (net.Conn, error) {
	return sessiontest.TCP(h.listen(func(o *Options) { o.Anonymous, o.AnonymousSessions = "ann", 2 }))
}

// names are those of a listing, sorted.
func (p *peer) names(path string) string {
	p.t.Helper()
	var names []string
	for line := range strings.Lines(p.retr("MLSD %s", path)) {
		_, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// refusedTransfer runs a transfer command that is to be refused before 150, and returns the reply.
func (p *peer) refusedTransfer(code int, format string, args ...any) string {
	p.t.Helper()
	p.epsv()
	return p.cmd(code, format, args...)
}

// A drop box takes everything, keeps everything, and tells nothing: each reply is the same whether there is a file of that name or not.
func TestDropBox(t *testing.T) {
	h := newHouse(t)
	h.put("/taken.txt", "old")
	h.rights("/", "drop")
	p := h.login()
	if code := p.stor("new", "STOR fresh.txt"); code != 226 {
		t.Fatal(code)
	}
	if code := p.stor("new", "STOR taken.txt"); code != 226 {
		t.Fatal(code)
	}
	if code := p.stor("more", "APPE taken.txt"); code != 226 {
		t.Fatal(code)
	}
	conn := p.open("STOU taken.txt")
	conn.Close()
	p.expect(226)
	for _, verb := range []string{"STOR", "APPE", "STOU"} { // below what is a file
		mask := regexp.MustCompile(`taken|absent|\.[a-z0-9]{8}:`)
		there, not := p.refusedTransfer(550, "%s taken.txt/below", verb), p.refusedTransfer(550, "%s absent.txt/below", verb)
		if mask.ReplaceAllString(there, "") != mask.ReplaceAllString(not, "") {
			t.Errorf("%s tells: %q, %q", verb, there, not)
		}
	}
	for _, verb := range []string{"SIZE", "MDTM", "MLST", "STAT", "RNFR", "DELE", "RMD", "MKD", "CWD", "MFMT 20200101000000",
		"MFF Modify=20200101000000;", "SITE CHMOD 600", "SITE CHMOD u+x", "SITE UTIME 20200101000000", "SITE CPFR", "SITE MKDIR", "SITE RESUME DROP", "XCRC", "XMD5", "XSHA1", "XSHA256", "HASH", "AVBL", "XRMD", "XMKD", "XCWD"} {
		there, not := p.cmd(550, "%s taken.txt", verb), p.cmd(550, "%s absent.txt", verb)
		if strings.ReplaceAll(there, "taken", "absent") != not {
			t.Errorf("%s tells: %q, %q", verb, there, not)
		}
	}
	for _, verb := range []string{"RETR", "LIST", "NLST", "MLSD"} {
		there, not := p.refusedTransfer(550, "%s taken.txt", verb), p.refusedTransfer(550, "%s absent.txt", verb)
		if strings.ReplaceAll(there, "taken", "absent") != not {
			t.Errorf("%s tells: %q, %q", verb, there, not)
		}
	}
	if there, not := p.refusedTransfer(550, "STOR taken.txt/x"), p.refusedTransfer(550, "STOR absent.txt/x"); strings.ReplaceAll(there, "taken", "absent") != not {
		t.Errorf("a file as folder tells: %q, %q", there, not)
	}
	p.refusedTransfer(550, "LIST *")
	p.refusedTransfer(550, "LIST")
	p.cmd(350, "REST 2")
	there := p.refusedTransfer(554, "STOR taken.txt")
	p.cmd(350, "REST 2")
	if not := p.refusedTransfer(554, "STOR absent.txt"); strings.ReplaceAll(there, "taken", "absent") != not {
		t.Errorf("REST tells: %q, %q", there, not)
	}
	if got, _ := h.getWhole("/taken.txt"); got != "old" {
		t.Errorf("the old file is %q", got)
	}
	var all []string
	for i, err := range h.fs.Whole(h.ann).ReadDir(t.Context(), "/") {
		if err != nil {
			t.Fatal(err)
		}
		if !i.IsDir() {
			text, _ := h.getWhole("/" + i.Name())
			all = append(all, text)
			if !strings.HasPrefix(i.Name(), "taken") && i.Name() != "fresh.txt" {
				t.Errorf("a file is called %q", i.Name())
			}
		}
	}
	slices.Sort(all)
	if got := strings.Join(all, ","); got != ",more,new,new,old" {
		t.Errorf("the box holds %q", got)
	}
	// What lies under the name gives no room: it is not replaced.
	h.quota(15) // 2 are left
	for _, name := range []string{"taken.txt", "absent.txt"} {
		p.cmd(200, "ALLO 4")
		p.refusedTransfer(552, "STOR %s", name)
		p.cmd(200, "ALLO 2")
		p.open("STOR %s", name).Close()
		p.expect(426)
	}
}

// An upload into a drop box that was cut goes on, with what the account sent and nothing else.
func TestDropBoxResume(t *testing.T) {
	h := newHouse(t)
	h.put("/taken.txt", "OLDOLDOLD")
	h.rights("/", "drop")
	for _, name := range []string{"taken.txt", "fresh.txt"} {
		p := h.secureLogin(0)
		conn := p.open("STOR %s", name)
		if _, err := io.WriteString(conn, "first "); err != nil {
			t.Fatal(err)
		}
		conn.(interface{ NetConn() net.Conn }).NetConn().Close() // no close_notify
		if code, text := p.reply(); code < 400 {
			t.Fatal(text)
		}
		if got := p.cmd(213, "SIZE %s", name); !strings.HasPrefix(got, "213 6") {
			t.Error(got)
		}
		p.cmd(350, "REST 6")
		conn = p.open("STOR %s", name)
		io.WriteString(conn, "second")
		conn.Close()
		p.expect(226)
		p.cmd(550, "SIZE %s", name)
	}
	if got, _ := h.getWhole("/taken.txt"); got != "OLDOLDOLD" {
		t.Errorf("the old file is %q", got)
	}
	if got, _ := h.getWhole("/fresh.txt"); got != "first second" {
		t.Errorf("the new file is %q", got)
	}
}

// getWhole is get whatever the rights.
func (h *house) getWhole(path string) (string, bool) {
	h.t.Helper()
	f, err := h.fs.Whole(h.ann).Open(context.Background(), path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(b), true
}

func TestReadOnlyTransfers(t *testing.T) {
	h := newHouse(t)
	h.put("/a.txt", "text")
	h.rights("/", "read")
	p := h.login()
	if got := p.retr("RETR a.txt"); got != "text" {
		t.Error(got)
	}
	if got := p.names("/"); got != "Mail a.txt" {
		t.Error(got)
	}
	for _, command := range []string{"STOR a.txt", "STOR b.txt", "APPE a.txt", "STOU", "STOU a.txt"} {
		if got := p.refusedTransfer(550, "%s", command); !strings.Contains(got, "no right to upload") {
			t.Errorf("%s: %s", command, got)
		}
	}
	if got := p.retr("MLSD"); !strings.Contains(got, "perm=el;") || !strings.Contains(got, "perm=r;") || strings.Contains(got, "perm=elmp") {
		t.Error(got)
	}
}

// A change of rights counts from the next command on, and for what is under way when it ends.
func TestRightsLive(t *testing.T) {
	h := newHouse(t)
	h.put("/a.txt", "text")
	p := h.login()
	conn := p.open("STOR b.txt")
	io.WriteString(conn, "late")
	h.rights("/", "read")
	conn.Close()
	if code, text := p.reply(); code < 400 {
		t.Error(text)
	}
	if _, ok := h.getWhole("/b.txt"); ok {
		t.Error("an upload became visible after the right to it was taken")
	}
	p.cmd(550, "DELE a.txt")
	h.rights("/", "")
	p.cmd(250, "DELE a.txt")
}

// Folders on the way to what may be used are shown, and nothing beside them.
func TestRightsOnTheWay(t *testing.T) {
	h := newHouse(t)
	accessCommands(h)["folder"](t, "/a/b/in")
	accessCommands(h)["folder"](t, "/hidden")
	h.put("/a/secret", "x")
	h.rights("/", "none")
	h.rights("/a/b/in", "list,upload")
	p := h.login()
	for path, want := range map[string]string{"/": "a", "/a": "b", "/a/b": "in", "/a/b/in": ""} {
		if got := p.names(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
	p.refusedTransfer(550, "MLSD /hidden")
	p.cmd(550, "CWD /hidden")
	p.cmd(550, "SIZE /a/secret")
	p.refusedTransfer(550, "RETR /a/secret")
	p.cmd(250, "CWD /a/b/in")
	if code := p.stor("1", "STOR x"); code != 226 {
		t.Error(code)
	}
	if got := p.names(""); got != "x" {
		t.Error(got)
	}
	p.refusedTransfer(550, "STOR x")
}

// A jail is "/"; nothing leads out of it, and none of the names above it is ever told.
func TestJailTransfers(t *testing.T) {
	h := newHouse(t)
	h.put("/outside", "secret")
	accessCommands(h)["folder"](t, "/jail/sub")
	h.jail("/jail")
	p := h.login()
	if got := p.names("/"); got != "sub" {
		t.Error(got)
	}
	if code := p.stor("mine", "STOR /../../sub/../mine"); code != 226 {
		t.Error(code)
	}
	if got, _ := h.getWhole("/jail/mine"); got != "mine" {
		t.Error(got)
	}
	for _, path := range []string{"/outside", "../outside", "/../outside", "/sub/../../outside", "/jail/mine", "/Mail", "/mail", "/Mail/INBOX"} {
		if got := p.refusedTransfer(550, "RETR %s", path); strings.Contains(got, "jail/mine:") && path != "/jail/mine" {
			t.Error(got)
		}
		p.cmd(550, "RNFR %s", path)
		p.cmd(550, "CWD %s", path)
	}
	p.cmd(350, "RNFR mine")
	if got := p.cmd(250, "RNTO /../moved"); strings.Contains(got, "jail") {
		t.Error(got)
	}
	if got, _ := h.getWhole("/jail/moved"); got != "mine" {
		t.Error(got)
	}
	if got := p.refusedTransfer(550, "RETR nothing"); strings.Contains(got, "jail") {
		t.Error(got)
	}
}

// The anonymous see files and no mail, whatever the account may do itself.
func TestAnonymousTransfers(t *testing.T) {
	h := newHouse(t)
	h.put("/a.txt", "text")
	accessCommands(h)["folder"](t, "/private")
	h.put("/private/b.txt", "text")
	addr := h.listen(func(o *Options) { o.Anonymous = "ann" })
	p := h.dialAt(addr)
	p.cmd(331, "USER Anonymous")
	p.cmd(230, "PASS someone@example.net")
	if got := p.names("/"); got != "a.txt private" {
		t.Error(got)
	}
	if got := p.retr("RETR a.txt"); got != "text" {
		t.Error(got)
	}
	h.rights("/private", "none")
	if got := p.names("/"); got != "a.txt" {
		t.Error(got)
	}
	p.refusedTransfer(550, "STOR c.txt")
	p.refusedTransfer(550, "RETR private/b.txt")
	p.refusedTransfer(550, "MLSD /Mail")
}
