package main

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packetboat/packetboat/storage"
)

// The bodies of requests and replies about mounts.
type (
	mountJSON struct {
		Account  string    `json:"account"`
		Path     string    `json:"path"`
		Host     string    `json:"host"`
		ReadOnly bool      `json:"read_only"`
		Created  time.Time `json:"created"`
		Problem  string    `json:"problem,omitempty"` // why the host folder cannot be used now
	}
	newMountJSON struct {
		Path     string `json:"path"`
		Host     string `json:"host"`
		ReadOnly bool   `json:"read_only"`
	}
)

// showMount tells of a mount, and what is wrong with its host folder.
func (c *control) showMount(m storage.Mount) mountJSON {
	j := mountJSON{Account: m.Owner, Path: m.Path, Host: m.Host, ReadOnly: m.ReadOnly, Created: m.Created}
	now, err := c.store.HostFolder(m.Host)
	switch {
	case err != nil:
		j.Problem = words(err)
	case now != m.Host:
		j.Problem = "a link leads to " + now + " now: remove the mount and add it anew if that is meant"
	default:
		j.Problem = unusable(m.Host, m.ReadOnly)
	}
	return j
}

// unusable tells why the user that this process runs as cannot use a folder, "" when it can.
func unusable(dir string, readOnly bool) string {
	mode, what := uint32(unix.R_OK|unix.X_OK), "read"
	if !readOnly {
		mode, what = mode|unix.W_OK, "change"
	}
	if err := unix.Faccessat(unix.AT_FDCWD, dir, mode, unix.AT_EACCESS); err != nil {
		return fmt.Sprintf("user %d may not %s it (%v): give its group the folder, or mount it with --ro", os.Geteuid(), what, err)
	}
	return ""
}

// mounts are those of one account, or of all.
func (c *control) mounts(r *http.Request) (any, error) {
	var account int64
	if r.PathValue("name") != "" {
		a, err := c.find(r)
		if err != nil {
			return nil, err
		}
		account = a.ID
	}
	all, err := c.store.Mounts(r.Context(), account)
	list := []mountJSON{}
	for _, m := range all {
		list = append(list, c.showMount(m))
	}
	return list, err
}

func (c *control) addMount(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	n, err := body[newMountJSON](r)
	if err != nil {
		return nil, err
	}
	m, err := c.store.AddMount(r.Context(), a.ID, n.Path, n.Host, n.ReadOnly)
	if err != nil {
		return nil, err
	}
	return c.showMount(m), nil
}

func (c *control) removeMount(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	path := r.URL.Query().Get("path")
	if path == "" {
		return nil, fmt.Errorf("%w: no path of a mount", errRequest)
	}
	m, err := c.store.RemoveMount(r.Context(), a.ID, path)
	if err != nil {
		return nil, err
	}
	return mountJSON{Account: m.Owner, Path: m.Path, Host: m.Host, ReadOnly: m.ReadOnly, Created: m.Created}, nil
}
