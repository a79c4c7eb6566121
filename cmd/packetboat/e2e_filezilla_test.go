//go:build e2e

package main

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// screen is an X server without a monitor and a window manager on it.
type screen struct {
	t       *testing.T
	display string
	frame   string // the file that holds what is on it
}

func startScreen(t *testing.T) *screen {
	t.Helper()
	dir := t.TempDir()
	s := &screen{t: t, display: startXvfb(t, "-fbdir", dir), frame: filepath.Join(dir, "Xvfb_screen0")}
	c := exec.Command("openbox")
	c.Env = append(os.Environ(), "DISPLAY="+s.display, "HOME="+dir)
	startGroup(t, c)
	return s
}

// xdo runs xdotool, which fails also when it finds nothing.
func (s *screen) xdo(args ...string) string {
	s.t.Helper()
	c := exec.Command("xdotool", args...)
	c.Env = append(os.Environ(), "DISPLAY="+s.display)
	out, _ := c.Output()
	return strings.TrimSpace(string(out))
}

// picture keeps what is on the screen, which Xvfb has in a file of the format of xwd: a header, colours, and lines of 32-bit pixels.
func (s *screen) picture(name string) {
	s.t.Helper()
	b, err := os.ReadFile(s.frame)
	if err != nil || len(b) < 100 {
		s.t.Fatalf("no picture: %v", err)
	}
	field := func(i int) int { return int(b[4*i])<<24 | int(b[4*i+1])<<16 | int(b[4*i+2])<<8 | int(b[4*i+3]) }
	width, height, line := field(4), field(5), field(12)
	pixels := b[field(0)+12*field(19):]
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			p := pixels[y*line+4*x:]
			img.SetRGBA(x, y, color.RGBA{p[2], p[1], p[0], 255})
		}
	}
	file, err := os.Create(filepath.Join(artifacts(s.t), "filezilla-"+name+".png"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	if err := png.Encode(file, img); err != nil {
		s.t.Fatal(err)
	}
}

// filezilla is a FileZilla with a fresh profile that has one site: ann's files at a running packetboat.
type filezilla struct {
	*fileClient
	screen   *screen
	log      string
	window   string
	exited   <-chan struct{}
	password string
}

func newFileZilla(b *boat, t *testing.T, s *screen) *filezilla {
	z := &filezilla{fileClient: &fileClient{boat: b.as(t), dir: t.TempDir()}, screen: s, password: annPassword}
	z.log = z.local("log")
	if err := os.MkdirAll(z.local("files"), 0o700); err != nil {
		t.Fatal(err)
	}
	return z
}

// profile writes the settings, the site with its folders here and there, and the trust in the server's certificate.
func (z *filezilla) profile(remote string, implicit bool) {
	z.t.Helper()
	const open, end = `<?xml version="1.0"?><FileZilla3 platform="*nix" version="3.63.0">`, `</FileZilla3>`
	var settings strings.Builder
	for name, value := range map[string]string{
		"Greeting version": "9.99.9", "Disable update check": "1", "Update Check": "0", "Logging file": z.log, "Number of Transfers": "4",
		"File exists action download": "5", "File exists action upload": "5", // resume
		"Prompt password save": "0", "Show Tree Local": "0", "Show Tree Remote": "0", "Reconnect count": "0", "Timeout": "20", "Queue completion action": "1", "Language Code": "en_US",
	} {
		fmt.Fprintf(&settings, `<Setting name="%s">%s</Setting>`, name, html.EscapeString(value))
	}
	conf := z.local(".config/filezilla/")
	write(z.t, conf+"/filezilla.xml", []byte(open+"<Settings>"+settings.String()+"</Settings>"+end))
	port, protocol := z.port(21), 4
	if implicit {
		port, protocol = z.port(990), 3
	}
	folder := "1 0" // a path of Unix without a prefix; then each part with its length
	for _, part := range strings.Split(strings.Trim(remote, "/"), "/") {
		folder += fmt.Sprintf(" %d %s", len([]rune(part)), part)
	}
	write(z.t, conf+"/sitemanager.xml", fmt.Appendf(nil, `%s<Servers><Server><Host>localhost</Host><Port>%s</Port><Protocol>%d</Protocol><Type>0</Type><User>ann@example.test</User>`+
		`<Pass encoding="base64">%s</Pass><Logontype>1</Logontype><EncodingType>Auto</EncodingType><BypassProxy>0</BypassProxy><PasvMode>MODE_DEFAULT</PasvMode><MaximumMultipleConnections>4</MaximumMultipleConnections>`+
		`<Name>boat</Name><LocalDir>%s</LocalDir><RemoteDir>%s</RemoteDir><SyncBrowsing>0</SyncBrowsing></Server></Servers>%s`,
		open, port, protocol, base64.StdEncoding.EncodeToString([]byte(z.password)), z.local("files"), html.EscapeString(folder), end))
	cert := tlsState(z.dialTLS(990)).PeerCertificates[0]
	write(z.t, conf+"/trustedcerts.xml", fmt.Appendf(nil, `%s<TrustedCerts><Certificate><Data>%s</Data><ActivationTime>%d</ActivationTime><ExpirationTime>%d</ExpirationTime>`+
		`<Host>localhost</Host><Port>%s</Port><TrustSANs>0</TrustSANs></Certificate></TrustedCerts><InsecureHosts />%s`,
		open, hex.EncodeToString(cert.Raw), cert.NotBefore.Unix(), cert.NotAfter.Unix(), port, end))
}

// start starts it; it connects by itself.
func (z *filezilla) start(remote string, implicit bool) {
	z.t.Helper()
	z.profile(remote, implicit)
	c := exec.Command("filezilla", "--site=0/boat", "-a", z.local("files"))
	c.Env = append(os.Environ(), "DISPLAY="+z.screen.display, "HOME="+z.dir, "XDG_CONFIG_HOME="+z.local(".config"), "LC_ALL=C.UTF-8", "NO_AT_BRIDGE=1", "GDK_BACKEND=x11")
	z.exited = startGroup(z.t, c)
	z.until("its window", func() bool {
		z.window, _, _ = strings.Cut(z.screen.xdo("search", "--onlyvisible", "--pid", strconv.Itoa(c.Process.Pid), "--name", "FileZilla"), "\n")
		return z.window != ""
	})
	z.screen.xdo("windowmove", z.window, "0", "20", "windowsize", z.window, "1200", "850")
}

// until waits at most half a minute, while it runs.
func (z *filezilla) until(what string, ok func() bool) {
	z.t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(50 * time.Millisecond) {
		select {
		case <-z.exited:
			z.t.Fatalf("FileZilla ended")
		default:
		}
		if time.Now().After(end) {
			z.screen.picture("failed")
			z.t.Fatalf("waited for %s; its log ends\n%s", what, tail(z.said(), 3000))
		}
	}
}

// said is its log.
func (z *filezilla) said() string {
	text, _ := os.ReadFile(z.log)
	return string(text)
}

// sees waits until its log has text n times.
func (z *filezilla) sees(text string, n int) {
	z.t.Helper()
	z.until(fmt.Sprintf("%q %d times", text, n), func() bool { return strings.Count(z.said(), text) >= n })
}

// listed waits until the panes are filled.
func (z *filezilla) listed() {
	z.t.Helper()
	z.sees("Status: Directory listing of ", 1)
	z.until("the listing", func() bool { return strings.Contains(z.said(), `" successful`) })
	time.Sleep(700 * time.Millisecond) // in which it draws them
}

// The panes with the trees hidden and the window at its place.
var paneHere, paneThere = []string{"mousemove", "200", "560"}, []string{"mousemove", "800", "560"}

// press clicks into a pane with a button of the mouse, if there is one, and then presses keys.
func (z *filezilla) press(pane []string, button string, keys ...string) {
	if pane != nil {
		z.screen.xdo(append(pane, "click", button)...)
		time.Sleep(200 * time.Millisecond)
	}
	for _, k := range keys {
		z.screen.xdo("key", "--clearmodifiers", k)
		time.Sleep(100 * time.Millisecond)
	}
}

// everything selects all that is in a pane and transfers it.
func (z *filezilla) everything(pane []string) { z.press(pane, "1", "Home", "Down", "ctrl+a", "Return") }

var fileZillaLine = regexp.MustCompile(`^\S+ \S+ \d+ (\d+) (\w+): +(.*)$`)

// content fails the test when its log has anything that somebody who reads it would call a problem, or a dialog is open.
func (z *filezilla) content() {
	z.t.Helper()
	last := make(map[string]string) // command of each connection
	for line := range strings.Lines(z.said()) {
		m := fileZillaLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		switch text := m[3]; {
		case m[2] == "Command":
			last[m[1]] = text
		case m[2] == "Response" && strings.HasPrefix(text, "550") && strings.HasPrefix(last[m[1]], "CWD "): // so it finds out what to make
		case m[2] == "Error" || m[2] == "Response" && strings.ContainsAny(text[:1], "45"),
			regexp.MustCompile(`(?i)not resume|insecure|gnutls|not support|warning|unknown`).MatchString(text):
			z.t.Errorf("FileZilla's log: %s", line)
		}
	}
	for window := range strings.FieldsSeq(z.screen.xdo("search", "--onlyvisible", "--name", ".")) {
		if name := z.screen.xdo("getwindowname", window); window != z.window && name != "" && !strings.EqualFold(name, "filezilla") && !strings.Contains(strings.ToLower(name), "openbox") {
			z.t.Errorf("a dialog is open: %s", name)
		}
	}
}

// connections is how many it had.
func (z *filezilla) connections() int {
	seen := make(map[string]bool)
	for line := range strings.Lines(z.said()) {
		if m := fileZillaLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			seen[m[1]] = true
		}
	}
	return len(seen)
}

// TestEndToEndFileZilla does in FileZilla, under Xvfb, what people do with their files, over TLS: it uses up to four connections, resumes TLS sessions on the
// data connections and warns when a server does not.
func TestEndToEndFileZilla(t *testing.T) {
	b, s := launch(t), startScreen(t)
	step := func(name string, f func(z *filezilla)) {
		t.Helper()
		t.Run(name, func(t *testing.T) { f(newFileZilla(b, t, s)) })
	}
	step("list and upload", func(z *filezilla) { z.upload() })
	step("download", func(z *filezilla) { z.download() })
	step("rename, make and delete", func(z *filezilla) { z.change() })
	step("implicit TLS", func(z *filezilla) { z.implicit() })
	step("wrong password", func(z *filezilla) { z.refused() })
	b.quiet()
}

// fifty writes 50 small files in four folders, and is their sizes' sum.
func (z *filezilla) fifty(dir string) {
	for i := range 50 {
		z.noise(fmt.Sprintf("%s/folder %d/file %d ü.bin", dir, i%4, i), 100+i*i*7)
	}
}

// upload: 50 files in four folders by four connections into a folder with odd names, and the rest of a file of 5 MB.
func (z *filezilla) upload() {
	z.fifty("files")
	big := z.noise("files/big.bin", 5_000_000)
	write(z.t, z.local("part"), big[:2_000_000])
	z.lftpRun("mkdir \"/a folder/\"; mkdir \"/a folder/größe & ß\"; put part -o \"/a folder/größe & ß/big.bin\"")
	z.start("/a folder/größe & ß", false)
	z.listed()
	z.everything(paneHere)
	z.sees("Status: File transfer successful", 51)
	z.screen.picture("upload")
	z.content()
	if said := z.said(); !strings.Contains(said, "Command: REST 2000000") && !strings.Contains(said, "Command: APPE ") {
		z.t.Error("the upload was not resumed")
	}
	if n := z.connections(); n < 3 {
		z.t.Errorf("it had %d connections", n)
	}
	z.lftpRun("mirror \"/a folder/größe & ß\" back")
	sameTree(z.t, z.local("files"), z.local("back"))
}

// download: the same in the other direction.
func (z *filezilla) download() {
	z.fifty("tree")
	big := z.noise("tree/big.bin", 5_000_000)
	write(z.t, z.local("files/big.bin"), big[:2_000_000])
	z.lftpRun("mirror -R --parallel=4 tree /fifty")
	z.start("/fifty", false)
	z.listed()
	z.everything(paneThere)
	z.sees("Status: File transfer successful", 51)
	z.until("the last bytes on disk", func() bool {
		i, err := os.Stat(z.local("files/big.bin"))
		return err == nil && i.Size() == int64(len(big))
	})
	z.screen.picture("download")
	z.content()
	if !strings.Contains(z.said(), "Command: REST 2000000") {
		z.t.Error("the download was not resumed")
	}
	sameTree(z.t, z.local("tree"), z.local("files"))
}

// change renames a file, makes a folder by the context menu and deletes both with what is in them.
func (z *filezilla) change() {
	write(z.t, z.local("old"), []byte("data"))
	z.lftpRun("mkdir /changes; put old -o \"/changes/old name.txt\"")
	names := func() string { return z.lftpRun("cls -1 /changes/") }
	z.start("/changes", false)
	z.listed()
	z.press(paneThere, "1", "Home", "Down", "F2", "ctrl+a")
	z.screen.xdo("type", "--delay", "15", "new name.txt")
	z.press(nil, "", "Return")
	z.sees("Command: RNTO new name.txt", 1)
	z.until("the new name", func() bool { return names() == "/changes/new name.txt\n" })
	z.press(paneThere, "3")
	time.Sleep(300 * time.Millisecond)
	z.press(nil, "", "c")
	z.until("the dialog", func() bool { return z.screen.xdo("search", "--onlyvisible", "--name", "Create directory") != "" })
	z.press(nil, "", "ctrl+a")
	z.screen.xdo("type", "--delay", "15", "made")
	z.press(nil, "", "Return")
	z.until("the folder", func() bool { return strings.Contains(names(), "/changes/made/\n") })
	z.lftpRun("put old -o /changes/made/inner.txt")
	z.press(paneThere, "1", "ctrl+a", "Delete")
	z.until("the question", func() bool { return z.screen.xdo("search", "--onlyvisible", "--name", "Confirm") != "" })
	z.screen.picture("delete")
	z.press(nil, "", "Return")
	z.sees("Command: RMD", 1)
	z.until("all to be gone", func() bool { return names() == "" })
	z.content()
}

// implicit lists and uploads over implicit TLS.
func (z *filezilla) implicit() {
	write(z.t, z.local("files/one.bin"), []byte("one\r\ntwo\n"))
	z.lftpRun("mkdir /implicit")
	z.start("/implicit", true)
	z.listed()
	z.everything(paneHere)
	z.sees("Status: File transfer successful", 1)
	z.content()
	z.lftpRun("get /implicit/one.bin -o back")
	z.holds("back", []byte("one\r\ntwo\n"))
}

// refused: a wrong password is told, and ends it.
func (z *filezilla) refused() {
	z.password = "wrong"
	z.start("/", false)
	z.sees("Response: 530 ", 1)
	z.sees("Critical error", 1)
}
