package main

import (
	"io"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// Who waits for an index is told when the server that builds it has gone, and does not wait for ever.
func TestReindexServerGone(t *testing.T) {
	dir := t.TempDir()
	s, err := storage.Open(t.Context(), dir, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	p := &program{stdout: io.Discard, stderr: io.Discard}
	p.flags.data = dir
	if err := p.askAgain(t.Context(), new(indexJSON)); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Error(err)
	}
}
