// Command packetboat serves SMTP, IMAP and FTP over one account store.
//
// This folder is the only place that knows all parts: config.go turns flags,
// environment and file into the packages' Options, wire.go starts and stops
// them in the right order, control.go is the door for the verbs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases; else it comes from the build info.
var version = "0.1.0-dev"

// Exit codes: 0 done, 1 failed, 2 wrong usage.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// program is what one invocation carries from its flags to its verb.
type program struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	flags  configFlags
	json   bool
	ran    bool // a verb was reached: errors from now on are failures, not wrong usage
}

func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{stdin: stdin, stdout: stdout, stderr: stderr}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal asks for a goodbye to everybody; a second one ends the process at once.
	context.AfterFunc(ctx, stop)
	root := p.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	verb, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case !p.ran || errors.As(err, &usage):
		fmt.Fprintf(stderr, "packetboat: %v\nSee %s --help.\n", err, verb.CommandPath())
		return exitUsage
	default:
		fmt.Fprintf(stderr, "packetboat: %v\n", err)
		return exitFailed
	}
}

// group makes c a verb of verbs: help without one, and wrong usage with one that there is not.
func group(c *cobra.Command, verbs ...*cobra.Command) *cobra.Command {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
	c.AddCommand(verbs...)
	return c
}

// usageError is a mistake of the caller that only the verb could see.
type usageError struct{ error }

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "packetboat",
		Short: "Mail and files under one name, one password, one quota",
		Long: `packetboat serves SMTP, IMAP and FTP over one account store.

  packetboat serve                       start everything with safe defaults
  packetboat account add ann             make an account (prints its password)
  packetboat session list                who is connected, doing what
  packetboat session kill ID             end one of them
  packetboat why ID                      why was mail refused, or taken for junk?
  packetboat token add ann --name phone  a password for one device
  packetboat mailbox stats ann           her mailboxes, and the search index
  packetboat mount add ann /d /srv/d     a folder of this machine among her files
  packetboat domain dns example.org      the DNS records to publish, or what is wrong with them
  packetboat queue list                  mail that must leave
  packetboat doctor ftp                  can FTP clients reach this server?

The verbs work on a running server (through control.sock in its data folder)
and on a stopped one alike.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRun: func(*cobra.Command, []string) {
			p.ran = true
		},
	}
	f := root.PersistentFlags()
	f.StringVar(&p.flags.data, "data", "", "data `folder` (default ./packetboat-data, environment PACKETBOAT_DATA)")
	f.StringArrayVar(&p.flags.set, "set", nil, "override a key of packetboat.toml, `section.key=value`; repeatable")
	f.BoolVar(&p.json, "json", false, "print JSON")
	root.AddCommand(p.serveVerb(), p.accountVerb(), p.tokenVerb(), p.domainVerb(), p.sessionVerb(), p.whyVerb(), p.mailboxVerb(), p.mountVerb(), p.aliasVerb(), p.groupVerb(), p.forwardVerb(), p.sieveVerb(), p.queueVerb(), p.suppressVerb(), p.reportVerb(), p.webhookVerb(), p.configVerb(), p.doctorVerb(), p.healthVerb(), p.versionVerb())
	return root
}

func (p *program) versionVerb() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			goVersion := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
			}
			if p.json {
				return p.printJSON(map[string]string{"version": version, "go": goVersion})
			}
			_, err := fmt.Fprintf(p.stdout, "packetboat %s (%s)\n", version, goVersion)
			return err
		},
	}
}
