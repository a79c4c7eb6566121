package vfs_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/storage/vfs"
)

// Parts that are made while others ask for the list are in it afterwards, and so is one that an upload goes on with when it is cut again.
func TestMountPartsListed(t *testing.T) {
	p := newPort(t)
	ctx := p.ctx()
	cut := func(at string, o vfs.CreateOptions) {
		o.Expect = -1
		w, err := p.Create(ctx, at, o)
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := w.Write([]byte("0123456789")); err != nil {
			t.Error(err)
		}
		if err := w.Abort(ctx, true); err != nil {
			t.Error(err)
		}
	}
	const files = 20
	for range 20 {
		var asking, cutting sync.WaitGroup
		done := make(chan struct{})
		for range 3 {
			asking.Go(func() {
				for {
					select {
					case <-done:
						return
					default:
					}
					if _, _, _, err := p.Parts(ctx, 100); err != nil {
						t.Error(err)
					}
				}
			})
		}
		for i := range files {
			cutting.Go(func() {
				at := fmt.Sprintf("/m/f%d", i)
				cut(at, vfs.CreateOptions{})
				cut(at, vfs.CreateOptions{Offset: 10})
			})
		}
		cutting.Wait()
		close(done)
		asking.Wait()
		parts, _, _, err := p.Parts(ctx, 100)
		if err != nil || len(parts) != files {
			t.Fatalf("%d parts are listed, %d are there; %v", len(parts), files, err)
		}
		for _, part := range parts {
			if part.Size != 20 {
				t.Errorf("%+v", part)
			}
			p.ok(p.DropPart(ctx, part.Path))
		}
	}
}
