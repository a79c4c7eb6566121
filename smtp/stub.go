// Package smtp holds the place of the SMTP server, which replaces this file.
package smtp

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/storage"
)

type Mode int

const (
	MX Mode = iota
	Submission
)

type BareNewline string
type Options struct {
	Name          string
	Mode          Mode
	TLS           *tls.Config
	ImplicitTLS   bool
	MaxMessage    int64
	MaxRecipients int
	BareNewline   BareNewline
	Logger        *slog.Logger
}
type Server struct{}

func New(*storage.Store, *auth.Door, Options) *Server { return &Server{} }
func (*Server) Serve(ctx context.Context, ln net.Listener) error {
	<-ctx.Done()
	ln.Close()
	return nil
}
func Refusal(r string) []byte { return nil }
