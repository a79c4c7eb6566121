// Package wire is IMAP as bytes (RFC 9051 sections 4 and 9, RFC 3501): what comes
// in, in a Reader (lines and literals with hard limits) and a Decoder (the grammar
// of one command), and what goes out, in an Encoder.
//
// The one idea: a command is a row of segments, each a line that is bounded and
// wholly read before it is looked at, with a literal between each two. So the
// parser works on a slice, a rejected command's end is always known, and a literal
// nobody wants is skipped by Decoder.Finish and never taken for commands.
//
// Buffers come from pools when there is something to hold and go back when there
// is not: a connection that waits holds none.
//
// Types are those of github.com/emersion/go-imap/v2 where they suffice.
package wire
