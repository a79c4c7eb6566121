//go:build e2e

package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// ftps is a session of ann's under implicit TLS, with private data connections.
func (b *boat) ftps() (*line, *tls.Config, error) {
	conf := b.tls()
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", b.addr(990), conf)
	if err != nil {
		return nil, nil, err
	}
	l := &line{c, bufio.NewReader(c)}
	for _, step := range [][2]string{{"", "220 "}, {"USER ann@example.test", "331 "}, {"PASS " + annPassword, "230 "}, {"TYPE I", "200 "}} {
		if _, err := l.until(step[0], step[1]); err != nil {
			l.Close()
			return nil, nil, err
		}
	}
	return l, conf, nil
}

// kill -9 in the middle of uploads, small and large, in the clear and under TLS: each that got its 226 is there whole, none is there half, and what
// had not come yet leaves nothing behind.
func TestCrashUploads(t *testing.T) {
	b := launch(t, "--set", "auth.throttle=off")
	acked := &acks{files: map[string]string{}}
	for round := range 3 {
		var work sync.WaitGroup
		for _, kind := range []string{"small", "large"} {
			for _, secure := range []bool{false, true} {
				work.Go(func() { b.storeUntilCut(fmt.Sprintf("r%d-%s-%v", round, kind, secure), kind == "large", secure, acked) })
			}
		}
		time.Sleep(1500*time.Millisecond + time.Duration(round)*211*time.Millisecond)
		b.kill()
		work.Wait()
		b.start()
		b.verifyUploads(t, acked)
		if t.Failed() {
			return
		}
	}
	counts := map[string]int{}
	for name := range acked.files {
		counts[name[strings.Index(name, "-")+1:strings.LastIndex(name, "-")]]++
	}
	t.Logf("after 3 kills: %v uploads, all there whole", counts)
	for _, kind := range []string{"small-false", "small-true", "large-false", "large-true"} {
		if counts[kind] < 2 {
			t.Errorf("%s: too little was acknowledged for the test to mean anything", kind)
		}
	}
}

// uploadText is small, or too large for the database.
func uploadText(id string, n int, large bool) string {
	if large {
		n = 26 + n%3 // the largest that crashText makes
		return crashText(id, n) + strings.Repeat("the end, which the sum does not cover\r\n", 50_000)
	}
	return crashText(id, 0)
}

func (b *boat) storeUntilCut(id string, large, secure bool, a *acks) {
	var conf *tls.Config
	l, err := b.ftp()
	if secure {
		if err == nil {
			l.Close()
		}
		l, conf, err = b.ftps()
	}
	if err != nil {
		return
	}
	defer l.Close()
	for n := 0; ; n++ {
		name := fmt.Sprintf("/%s-%d", id, n)
		text := uploadText(id, n, large)
		d, err := l.data()
		if err != nil {
			return
		}
		if _, err := l.until("STOR "+name, "150 "); err == nil {
			if secure {
				d = tls.Client(d, conf)
			}
			_, err = io.WriteString(d, text)
		}
		d.Close()
		if _, err := l.until("", "226 "); err != nil {
			return
		}
		a.note(func() { a.files[name] = text })
	}
}

// verifyUploads looks at each file that is there, and for each that was acknowledged.
func (b *boat) verifyUploads(t *testing.T, a *acks) {
	t.Helper()
	l, err := b.ftp()
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	there, err := l.fetch("NLST", "")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for name := range strings.FieldsSeq(there) {
		if !strings.HasPrefix(name, "r") {
			continue
		}
		found["/"+name] = true
		got, err := l.retrieve("/" + name)
		id, n := name[:strings.LastIndex(name, "-")], 0
		fmt.Sscan(name[strings.LastIndex(name, "-")+1:], &n)
		if want := uploadText(id, n, strings.Contains(name, "large")); err != nil || got != want {
			t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
		}
	}
	for name := range a.files {
		if !found[name] {
			t.Errorf("%s was acknowledged and is gone", name)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		left, err := os.ReadDir(filepath.Join(b.data, "blobs", "staging"))
		if err != nil {
			t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d staged files are left", len(left))
		}
	}
}

// fetch runs a command that sends something over a data connection.
func (l *line) fetch(verb, arg string) (string, error) {
	d, err := l.data()
	if err != nil {
		return "", err
	}
	defer d.Close()
	if _, err := l.until(strings.TrimSpace(verb+" "+arg), "150 ", "125 "); err != nil {
		return "", err
	}
	d.SetDeadline(time.Now().Add(20 * time.Second))
	text, err := io.ReadAll(d)
	if err != nil {
		return "", err
	}
	_, err = l.until("", "226 ")
	return string(text), err
}
