package wire

import (
	"io"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Sizes of the output.
const (
	outBuf   = 64 << 10
	outFlush = 60 << 10 // more than this is sent at the end of a response
)

var outPool = sync.Pool{New: func() any { return new([outBuf]byte) }}

// Encoder writes responses. It takes a buffer from a pool when there is something to say and gives it back when it was sent. Errors
// stick: after the first one everything is thrown away and Flush tells it. It is used by one goroutine.
//
// Responses are appended: methods for what needs care, Append for the rest.
type Encoder struct {
	// UTF8: strings beyond ASCII may be quoted, and mailbox names are UTF-8 (RFC 9051 section 5.1, RFC 6855 section 3).
	UTF8 bool

	w   io.Writer
	buf []byte
	arr *[outBuf]byte
	err error
}

// Reset makes the Encoder write to w. What was not flushed is lost.
func (e *Encoder) Reset(w io.Writer) {
	e.w = w
	e.put()
}

func (e *Encoder) put() {
	if e.arr != nil {
		outPool.Put(e.arr)
	}
	e.arr, e.buf = nil, nil
}

// Buf is what was not sent yet, to be appended to and given back with Set.
func (e *Encoder) Buf() []byte {
	if e.buf == nil {
		e.arr = outPool.Get().(*[outBuf]byte)
		e.buf = e.arr[:0]
	}
	return e.buf
}

// Set gives back what Buf gave, appended to.
func (e *Encoder) Set(b []byte) { e.buf = b }

// Raw appends strings as they are.
func (e *Encoder) Raw(parts ...string) *Encoder {
	b := e.Buf()
	for _, s := range parts {
		b = append(b, s...)
	}
	e.buf = b
	return e
}

// Bytes appends bytes as they are.
func (e *Encoder) Bytes(p []byte) *Encoder {
	e.buf = append(e.Buf(), p...)
	return e
}

// Num appends a number.
func (e *Encoder) Num(n uint64) *Encoder {
	e.buf = AppendNumber(e.Buf(), n)
	return e
}

// String appends s quoted, or as a literal where it cannot be.
func (e *Encoder) String(s string) *Encoder {
	e.buf = AppendString(e.Buf(), s, e.UTF8)
	return e
}

// Mailbox appends a mailbox name.
func (e *Encoder) Mailbox(name string) *Encoder {
	if !e.UTF8 {
		name = EncodeUTF7(name)
	}
	b := e.Buf()
	if isASCII(name) {
		e.buf = AppendAString(b, name)
	} else {
		e.buf = AppendString(b, name, true)
	}
	return e
}

// CRLF ends a response; when much has gathered it is sent.
func (e *Encoder) CRLF() {
	e.buf = append(e.Buf(), '\r', '\n')
	if len(e.buf) > outFlush {
		_ = e.Flush()
	}
}

// Write makes the Encoder an io.Writer for the bytes of a literal.
func (e *Encoder) Write(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	if len(p) >= outBuf/2 {
		if err := e.Flush(); err != nil {
			return 0, err
		}
		n, err := e.w.Write(p)
		e.err = err
		return n, err
	}
	e.buf = append(e.Buf(), p...)
	if len(e.buf) > outFlush {
		return len(p), e.Flush()
	}
	return len(p), nil
}

// Pending is how much was not sent yet.
func (e *Encoder) Pending() int { return len(e.buf) }

// Flush sends what there is and gives the buffer back.
func (e *Encoder) Flush() error {
	if len(e.buf) > 0 && e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.put()
	return e.err
}

// Direct flushes and returns the connection, for bytes that need no buffer; Fail must be told of an error.
func (e *Encoder) Direct() (io.Writer, error) {
	return e.w, e.Flush()
}

// Fail makes err the Encoder's.
func (e *Encoder) Fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// Err is the first error.
func (e *Encoder) Err() error { return e.err }

// AppendNumber appends n in decimal.
func AppendNumber(b []byte, n uint64) []byte { return strconv.AppendUint(b, n, 10) }

// AppendString appends s as a quoted string, or as a literal when it has bytes that may not be quoted.
func AppendString(b []byte, s string, utf8ok bool) []byte {
	if len(s) > 4096 {
		return appendLiteral(b, s)
	}
	for i := range len(s) {
		c := s[i]
		if c < 0x20 && c != '\t' || c == 0x7f || c >= 0x80 && !utf8ok {
			return appendLiteral(b, s)
		}
	}
	if utf8ok && !utf8.ValidString(s) {
		return appendLiteral(b, s)
	}
	return appendQuoted(b, s)
}

func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}

func appendLiteral(b []byte, s string) []byte {
	b = AppendNumber(append(b, '{'), uint64(len(s)))
	b = append(b, "}\r\n"...)
	return append(b, s...)
}

// AppendDateTime appends a quoted date-time of Unix seconds in a zone of that many minutes east of UTC.
func AppendDateTime(b []byte, unix int64, zone int16) []byte {
	b = append(b, '"')
	b = time.Unix(unix+int64(zone)*60, 0).UTC().AppendFormat(b, "02-Jan-2006 15:04:05 ")
	sign := byte('+')
	if zone < 0 {
		sign, zone = '-', -zone
	}
	h, m := zone/60%100, zone%60
	return append(b, sign, byte('0'+h/10), byte('0'+h%10), byte('0'+m/10), byte('0'+m%10), '"')
}

// AppendRange appends a range of numbers as in a set, behind a comma unless it is the first since start.
func AppendRange(b []byte, start int, first, last uint32) []byte {
	if len(b) > start {
		b = append(b, ',')
	}
	b = AppendNumber(b, uint64(first))
	if last > first {
		b = AppendNumber(append(b, ':'), uint64(last))
	}
	return b
}

// AppendSet appends ascending numbers as a set, runs as ranges.
func AppendSet(b []byte, nums []uint32) []byte {
	start := len(b) // a comma goes between ranges, not before the first
	for i := 0; i < len(nums); {
		j := i
		for j+1 < len(nums) && nums[j+1] == nums[j]+1 {
			j++
		}
		b = AppendRange(b, start, nums[i], nums[j])
		i = j + 1
	}
	return b
}
