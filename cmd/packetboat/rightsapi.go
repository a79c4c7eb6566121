package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// rightsJSON is what an account may do with its files; rightsChangeJSON changes that of one path.
type (
	rightsJSON struct {
		Account string     `json:"account"`
		Jail    string     `json:"jail"`
		Rights  []ruleJSON `json:"rights"`
		Made    string     `json:"made,omitempty"` // the folder that a change made
	}
	ruleJSON struct {
		Path   string   `json:"path"`
		Name   string   `json:"name"` // of the set, or its rights with commas
		Rights []string `json:"rights"`
	}
	rightsChangeJSON struct {
		Path   string `json:"path"`
		Rights string `json:"rights"` // "" takes the path's own rights away
	}
)

// errJail is why sessions end that would see another tree from now on.
var errJail = errors.New("the folder of the account was changed by the administrator")

func (c *control) rights(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	return c.showRights(r.Context(), a)
}

func (c *control) showRights(ctx context.Context, a *storage.Account) (rightsJSON, error) {
	j := rightsJSON{Account: a.Name, Rights: []ruleJSON{}}
	access, err := c.store.Access(ctx, a.ID)
	if err != nil {
		return j, err
	}
	j.Jail = access.Jail
	for _, rule := range access.Rules {
		j.Rights = append(j.Rights, ruleJSON{rule.Path, rule.Rights.String(), rule.Rights.Words()})
	}
	return j, nil
}

func (c *control) changeRights(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	change, err := body[rightsChangeJSON](r)
	if err != nil {
		return nil, err
	}
	path, err := storage.CleanPath(change.Path)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", change.Path, err)
	}
	made := ""
	if change.Rights == "" {
		err = c.store.DropPathRights(r.Context(), a.ID, path)
	} else {
		made, err = c.setRights(r.Context(), a, path, change.Rights)
	}
	if err != nil {
		return nil, err
	}
	j, err := c.showRights(r.Context(), a)
	j.Made = made
	return j, err
}

// setRights makes the folder too: whoever may upload into /in shall not need somebody else to make it. made is the folder, if it was missing.
func (c *control) setRights(ctx context.Context, a *storage.Account, path, text string) (made string, err error) {
	rights, err := storage.ParsePathRights(text)
	if err != nil {
		return "", err
	}
	if rights != 0 && path != "/Mail" && !strings.HasPrefix(path, "/Mail/") {
		if made, err = c.makeFolder(ctx, a, path); err != nil {
			return "", err
		}
	}
	return made, c.store.SetPathRights(ctx, a.ID, path, rights)
}

// trees is the view of all trees: that of the running server.
func (c *control) trees() *vfs.FS {
	c.once.Do(func() {
		if c.tree == nil {
			c.tree = vfs.New(c.store, vfs.Options{})
		}
	})
	return c.tree
}

// makeFolder makes a folder of an account's tree where there is nothing.
func (c *control) makeFolder(ctx context.Context, a *storage.Account, path string) (made string, err error) {
	tree := c.trees().Whole(a)
	if _, err := tree.Stat(ctx, path); !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	return path, tree.MkdirAll(ctx, path)
}

// setJail makes a folder, which is made if it is missing, all that an account sees by FTP. Its sessions there end, as they would see another tree.
func (c *control) setJail(ctx context.Context, a *storage.Account, jail string) error {
	path, err := storage.CleanPath(jail)
	if err != nil {
		return fmt.Errorf("path %q: %w", jail, err)
	}
	old, err := c.store.Access(ctx, a.ID)
	if err != nil || old.Jail == path {
		return err
	}
	if err := c.trees().Whole(a).MkdirAll(ctx, path); err != nil {
		return err
	}
	if err := c.store.SetJail(ctx, a.ID, path); err != nil {
		return err
	}
	for _, s := range c.registry.Of(a.ID) {
		if s.Protocol() == session.FTP {
			s.Kill(errJail)
		}
	}
	return nil
}
