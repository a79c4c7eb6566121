package storage

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// fileLimitDir tells a child of this test where the store is.
const fileLimitDir = "PACKETBOAT_FILE_LIMIT_DIR"

// TestFileLimit: a message whose file may not become as large as it is (RLIMIT_FSIZE, or the file system's own limit) is refused for now, and harms nothing.
func TestFileLimit(t *testing.T) {
	dir := os.Getenv(fileLimitDir)
	if dir == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFileLimit$")
		cmd.Env = append(os.Environ(), fileLimitDir+"="+t.TempDir())
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 1)
	limit := syscall.Rlimit{Cur: 4 << 20, Max: 4 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	u, err := s.NewMail(t.Context(), a.ID, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	_, err = io.WriteString(u, "Subject: x\r\n\r\n")
	for range 10 {
		if err == nil {
			_, err = u.Write(make([]byte, 1<<20))
		}
	}
	if !errors.Is(err, ErrTemporary) || !errors.Is(err, syscall.EFBIG) {
		t.Error(err)
	}
	deliverTo(t, s, a.ID, "INBOX", 1)
	verifyStore(t, s)
}
