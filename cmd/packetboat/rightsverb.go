package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

func rightsPath(account string) string { return "/accounts/" + url.PathEscape(account) + "/rights" }

func (p *program) accountRights() *cobra.Command {
	var remove bool
	c := &cobra.Command{
		Use:   "rights NAME [PATH RIGHTS]",
		Short: "What an account may do with its files by FTP, as a whole or by folder",
		Long: `Without PATH the rights are shown. PATH is one of the account's tree (not of its jail), and what is set
for it holds for all that is below, up to a path that has rights of its own; without any, everything may
be done. They hold for files and for mail shown as files, not for IMAP. A change counts at once.

RIGHTS are words with commas between:

  list       see the names in a folder          delete     remove files and empty folders
  download   read files                         rename     give another name or place (where it may
  upload     store files under new names                   upload, or for a folder mkdir)
  overwrite  replace files, append to them,     mkdir      make folders
             set their time and mode

or a name for some of them:

  full       all                                read       list,download
  drop       upload: a drop box, which tells    none       nothing: the folder is not even shown
             nobody what is in it

A folder that is not there yet is made.

  packetboat account rights ann / read           # read-only
  packetboat account rights scanner / drop       # a drop box
  packetboat account rights ann /payroll none    # not for her by FTP
  packetboat account rights ann /payroll --remove`,
		Args: cobra.RangeArgs(1, 3),
		RunE: func(cmd *cobra.Command, args []string) error {
			method, change := http.MethodPatch, any(nil)
			switch {
			case len(args) == 1 && !remove:
				method = http.MethodGet
			case len(args) == 2 && remove:
				change = rightsChangeJSON{Path: args[1]}
			case len(args) == 3 && !remove && args[2] != "":
				change = rightsChangeJSON{Path: args[1], Rights: args[2]}
			default:
				return usageError{errors.New("give NAME, NAME PATH RIGHTS, or NAME PATH --remove")}
			}
			return p.with(cmd.Context(), func(ctl *caller) error {
				var j rightsJSON
				if err := ctl.call(cmd.Context(), method, rightsPath(args[0]), change, &j); err != nil {
					return err
				}
				return p.printRights(j)
			})
		},
	}
	c.Flags().BoolVar(&remove, "remove", false, "take the rights away that PATH has of its own: those of the folder above hold again")
	return c
}

func (p *program) printRights(j rightsJSON) error {
	if p.json {
		return p.printJSON(j)
	}
	if j.Made != "" {
		fmt.Fprintf(p.stdout, "%s made\n", j.Made)
	}
	if j.Jail != "/" {
		fmt.Fprintf(p.stdout, "jailed to %s\n", j.Jail)
	}
	rows := [][]string{{"PATH", "RIGHTS"}}
	if len(j.Rights) == 0 || j.Rights[0].Path != "/" {
		rows = append(rows, []string{"/", "full"})
	}
	for _, r := range j.Rights {
		rows = append(rows, []string{r.Path, r.Name})
	}
	return p.table(rows)
}

// rightsText is what an account may do, in a few words.
func rightsText(a accountJSON) string {
	text := "full"
	switch n := len(a.Rights); {
	case n == 1 && a.Rights[0].Path == "/":
		text = a.Rights[0].Name
	case n > 0:
		var all []string
		for _, r := range a.Rights[:min(n, 3)] {
			all = append(all, r.Path+" "+r.Name)
		}
		if text = strings.Join(all, "; "); n > 3 {
			text += fmt.Sprintf("; and %d more", n-3)
		}
	}
	if a.Jail != "/" {
		text += " (jailed to " + a.Jail + ")"
	}
	return text
}
