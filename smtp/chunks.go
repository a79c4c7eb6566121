package smtp

import (
	"io"
	"strconv"
	"strings"
)

// chunks is a message that comes by BDAT (RFC 3030 section 2). Between two chunks it reads the commands itself:
// the message goes on with BDAT, and ends early with RSET, QUIT or the connection.
type chunks struct {
	c    *client
	left int64 // of the chunk under way
	size int64 // of the chunk under way, for its reply
	last bool
}

// smallChunk is what a chunk must have so as not to count like a command that brings nothing: a message may be cut into chunks of nothing without an end.
const smallChunk = 512

// parseChunk reads the arguments of BDAT.
func parseChunk(arg string) (size int64, last bool, ok bool) {
	number, word, more := strings.Cut(arg, " ")
	if more && !strings.EqualFold(strings.TrimSpace(word), "LAST") {
		return 0, false, false
	}
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return 0, false, false
	}
	size, err := strconv.ParseInt(number, 10, 64)
	return size, more, err == nil
}

func (k *chunks) window() []byte {
	win := k.c.wire.window()
	return win[:min(int64(len(win)), k.left)]
}

func (k *chunks) consume(n int) {
	k.c.wire.consume(n)
	k.left -= int64(n)
}

func (k *chunks) more(int) error {
	if k.left == 0 {
		return k.next()
	}
	return k.c.wire.more(1)
}

// discard takes what is left of the chunk under way, at most max bytes. errFlood when it is more.
func (k *chunks) discard(max int64) error {
	if k.left > max {
		return errFlood
	}
	for k.left > 0 {
		if err := k.c.wire.more(1); err != nil {
			return err
		}
		k.consume(len(k.window()))
	}
	return nil
}

// next waits for the next chunk that is not empty.
func (k *chunks) next() error {
	for {
		if k.last {
			return io.EOF
		}
		k.c.answer(say(250, "2.0.0", "%d octets received", k.size))
		if err := k.command(); err != nil {
			return err
		}
		if k.left > 0 {
			return k.c.wire.more(1)
		}
	}
}

// command reads commands until one goes on with the message.
func (k *chunks) command() error {
	for {
		verb, arg, err := k.c.command()
		if err != nil {
			return err
		}
		switch verb {
		case "BDAT":
			size, last, ok := parseChunk(arg)
			if !ok {
				return k.c.astray()
			}
			if k.c.flood(size) {
				return io.ErrUnexpectedEOF
			}
			if size < smallChunk {
				k.c.labour()
			}
			k.left, k.size, k.last = size, size, last
			return nil
		case "RSET":
			return say(250, "2.0.0", "message given up")
		case "QUIT":
			return k.c.quit()
		case "NOOP":
			k.c.labour()
			k.c.answer(say(250, "2.0.0", "ok"))
		default:
			// RFC 3030 section 2: between the chunks of a message there is nothing else.
			if k.c.bad(say(503, "5.5.1", "a message is under way: BDAT, RSET or QUIT")) {
				return io.ErrUnexpectedEOF
			}
		}
	}
}
