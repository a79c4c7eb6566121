package vfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"
)

const (
	sweepEvery = time.Hour
	sweepPage  = 500  // folders that are asked for at a time
	maxNoted   = 4096 // folders that a mount remembers to have noted; beyond, they are noted again
)

// note tells the store that a hidden file will be in a folder, once for each folder, so that the sweep need not look through all that is mounted.
func (m *mount) note(ctx context.Context, folder string) error {
	m.mu.Lock()
	known := m.noted[folder]
	m.mu.Unlock()
	if known {
		return nil
	}
	if err := m.fs.store.NoteMountFolder(ctx, m.ID, folder); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.noted) >= maxNoted {
		clear(m.noted)
	}
	m.noted[folder] = true
	return nil
}

// SweepMounts removes from all mounts the hidden files of uploads that were cut, or were under way in a crash, and are older than storage.Options.PartialAge.
func (f *FS) SweepMounts(ctx context.Context) error {
	now, err := f.readMounts(ctx)
	if err != nil {
		return err
	}
	var first error
	for _, list := range now.byAccount {
		for _, m := range list {
			// A mount that is not available now must not keep the others from being swept.
			if err := m.sweep(ctx); err != nil && first == nil {
				first = err
			}
		}
	}
	return first
}

func (m *mount) sweep(ctx context.Context) error {
	after := ""
	for {
		folders, err := m.fs.store.MountFolders(ctx, m.ID, after, sweepPage)
		if err != nil {
			return err
		}
		if len(folders) == 0 {
			return m.sweepParts(ctx)
		}
		for _, folder := range folders {
			if err := m.sweepFolder(ctx, folder); err != nil {
				return err
			}
		}
		after = folders[len(folders)-1]
	}
}

// sweepParts forgets parts that are not there any more.
func (m *mount) sweepParts(ctx context.Context) error {
	after := ""
	for {
		noted, err := m.fs.store.MountParts(ctx, m.ID, after, sweepPage)
		if err != nil || len(noted) == 0 {
			return err
		}
		for _, below := range noted {
			err := m.sweepPart(ctx, below)
			if errors.Is(err, fs.ErrNotExist) {
				err = m.fs.store.ForgetMountPart(ctx, m.ID, below)
			}
			if err != nil {
				return err
			}
		}
		after = noted[len(noted)-1]
	}
}

// sweepPart forgets the part of a file if it is not there any more; fs.ErrNotExist when there is no such folder.
func (m *mount) sweepPart(ctx context.Context, below string) error {
	names := strings.Split(below, "/")
	h, err := m.at(append(slices.Clip(m.names), names...))
	return change(h, err, func(h *hosted) error {
		if err := h.find(names); err != nil {
			return err
		}
		d, _, err := h.r.parent(h.rel)
		if err != nil {
			return hostError(err)
		}
		d.close()
		return h.forgetPart(ctx)
	})
}

// sweepFolder forgets a folder in which no hidden files are left.
func (m *mount) sweepFolder(ctx context.Context, folder string) error {
	h, err := m.at(nil)
	if err != nil {
		return err
	}
	h.rel = folder
	defer h.close()
	m.mu.Lock()
	delete(m.noted, folder) // who begins an upload from now on notes it again
	m.mu.Unlock()
	left, err := h.sweepFolder(ctx)
	if err != nil || left > 0 {
		return ifExists(err)
	}
	return m.fs.store.ForgetMountFolder(ctx, m.ID, folder)
}

// sweepFolder tells how many hidden files are left. A folder that is gone has none.
func (h *hosted) sweepFolder(ctx context.Context) (left int, err error) {
	d, err := h.r.dir(h.rel)
	if err != nil {
		return 0, ifExists(hostError(err))
	}
	defer d.close()
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		page, err := d.f.ReadDir(hostPage)
		for _, e := range page {
			if hidden(e.Name()) && !h.sweepEntry(d, e) {
				left++
			}
		}
		if err == io.EOF {
			return left, nil
		}
		if err != nil {
			return left, hostError(err)
		}
	}
}

// sweepEntry removes a hidden file that is too old, and tells whether it did. It is asked of each that a listing comes by, too.
func (h *hosted) sweepEntry(d *hostDir, e fs.DirEntry) bool {
	st, err := e.Info()
	if err != nil || h.m.ReadOnly || !st.Mode().IsRegular() || time.Since(st.ModTime()) < h.m.fs.store.PartialAge() || h.m.holds(idOf(st)) {
		return false
	}
	return d.unlink(e.Name()) == nil
}

// clearHidden empties a folder that holds nothing but parts that cut uploads left, so that it can be removed; they go with it.
func (h *hosted) clearHidden() bool {
	d, err := h.r.dir(h.rel)
	if err != nil {
		return false
	}
	defer d.close()
	var parts []fs.DirEntry
	for {
		page, err := d.f.ReadDir(hostPage)
		for _, e := range page {
			st, err := e.Info()
			if err != nil || !hidden(e.Name()) || !st.Mode().IsRegular() || h.m.holds(idOf(st)) || len(parts) > hostPage {
				return false
			}
			parts = append(parts, e)
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false
		}
	}
	for _, e := range parts {
		if d.unlink(e.Name()) != nil {
			return false
		}
	}
	return true
}
