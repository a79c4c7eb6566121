package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// The bodies of requests and replies about uploads that were cut.
type (
	uploadJSON struct {
		Path     string    `json:"path"`
		Bytes    int64     `json:"bytes"`
		Cut      time.Time `json:"cut"`
		Expires  time.Time `json:"expires"`
		Replaces bool      `json:"replaces"` // there is a file of that name, which the upload did not change
	}
	uploadsJSON struct {
		Account string       `json:"account"`
		Uploads []uploadJSON `json:"uploads"` // the latest first
		More    bool         `json:"more"`    // than these
	}
)

// parts are those of an account, wherever they are.
func (c *control) parts(ctx context.Context, a *storage.Account) (uploadsJSON, error) {
	all, _, more, err := c.trees().Whole(a).Parts(ctx, vfs.MaxParts)
	j := uploadsJSON{Account: a.Name, Uploads: []uploadJSON{}, More: more}
	for _, p := range all {
		j.Uploads = append(j.Uploads, uploadJSON{Path: p.Path, Bytes: p.Size, Cut: p.Cut, Expires: p.Expires, Replaces: p.Old})
	}
	return j, err
}

func (c *control) uploads(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	j, err := c.parts(r.Context(), a)
	if err != nil {
		return nil, err
	}
	return j, nil
}

func (c *control) dropUpload(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	path := r.URL.Query().Get("path")
	if err := c.trees().Whole(a).DropPart(r.Context(), path); err != nil {
		return nil, err
	}
	c.note(a, "upload dropped", map[string]string{"path": path})
	return c.uploads(r)
}

func (p *program) accountUploads() *cobra.Command {
	var drop string
	c := &cobra.Command{
		Use:   "uploads NAME",
		Short: "List the uploads that were cut and can be resumed; they count in the quota",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.with(cmd.Context(), func(ctl *caller) error {
				path, method := "/accounts/"+url.PathEscape(args[0])+"/uploads", http.MethodGet
				if cmd.Flags().Changed("drop") {
					path, method = path+"?path="+url.QueryEscape(drop), http.MethodDelete
				}
				var all uploadsJSON
				if err := ctl.call(cmd.Context(), method, path, nil, &all); err != nil {
					return err
				}
				if p.json {
					return p.printJSON(all)
				}
				return p.printUploads(all)
			})
		},
	}
	c.Flags().StringVar(&drop, "drop", "", "throw away what was kept of the upload of this `path`, then list the others")
	return c
}

func (p *program) printUploads(all uploadsJSON) error {
	rows := [][]string{{"SIZE", "AGE", "KEPT UNTIL", "PATH"}}
	total := int64(0)
	for _, u := range all.Uploads {
		total += u.Bytes
		path := u.Path
		if u.Replaces {
			path += " (the file of that name is as it was)"
		}
		rows = append(rows, []string{size(u.Bytes), ago(time.Since(u.Cut)), u.Expires.Local().Format("2006-01-02 15:04"), path})
	}
	if err := p.table(rows); err != nil {
		return err
	}
	if all.More {
		fmt.Fprintf(p.stdout, "and more than these %d, which take %s\n", len(all.Uploads), size(total))
		return nil
	}
	fmt.Fprintf(p.stdout, "%d in all, %s\n", len(all.Uploads), size(total))
	return nil
}
