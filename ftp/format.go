package ftp

import (
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/vfs"
)

// facts are the MLSx facts a client wants (RFC 3659 section 7.5), as bits in the order of factNames.
type facts uint16

var factNames = [...]string{"type", "size", "modify", "perm", "unique", "UNIX.mode", "UNIX.owner", "UNIX.ownername", "UNIX.group", "UNIX.groupname"}

const (
	factType facts = 1 << iota
	factSize
	factModify
	factPerm
	factUnique
	factMode
	factOwner
	factOwnerName
	factGroup
	factGroupName

	usualFacts = factType | factSize | factModify | factPerm | factUnique | factMode
)

// parseFacts reads the list of OPTS MLST: RFC 3659 section 7.9. Unknown facts are skipped; false for what is no list of names. The last
// semicolon may be missing, as some clients leave it out.
func parseFacts(list string) (facts, bool) {
	var f facts
	if list == "" {
		return 0, true
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		if name == "" || strings.ContainsAny(name, " =,") {
			return 0, false
		}
		for i, known := range factNames {
			if strings.EqualFold(name, known) {
				f |= 1 << i
			}
		}
	}
	return f, true
}

// String lists the chosen facts: "type;size;".
func (f facts) String() string {
	var b strings.Builder
	for i, name := range factNames {
		if f&(1<<i) != 0 {
			b.WriteString(name + ";")
		}
	}
	return b.String()
}

// feature lists all facts, the chosen ones with a star (RFC 3659 section 7.8).
func (f facts) feature() string {
	var b strings.Builder
	for i, name := range factNames {
		b.WriteString(name)
		if f&(1<<i) != 0 {
			b.WriteByte('*')
		}
		b.WriteByte(';')
	}
	return b.String()
}

// append writes the facts of i and the blank before the name.
func (f facts) append(b []byte, i vfs.Info) []byte {
	if f&factType != 0 {
		if i.IsDir() {
			b = append(b, "type=dir;"...)
		} else {
			b = append(b, "type=file;"...)
		}
	}
	if f&factSize != 0 && !i.IsDir() {
		b = strconv.AppendInt(append(b, "size="...), i.Size(), 10)
		b = append(b, ';')
	}
	if f&factModify != 0 {
		b = appendStamp(append(b, "modify="...), i.ModTime())
		b = append(b, ';')
	}
	if f&factPerm != 0 {
		b = append(append(append(b, "perm="...), i.Perm()...), ';')
	}
	if f&factUnique != 0 {
		b = append(append(append(b, "unique="...), i.Unique()...), ';')
	}
	if f&factMode != 0 {
		b = appendOctal(append(b, "UNIX.mode="...), i.Mode())
		b = append(b, ';')
	}
	if f&(factOwner|factOwnerName|factGroup|factGroupName) != 0 {
		b = f.appendOwner(b)
	}
	return append(b, ' ')
}

// appendOwner writes who owns a file: as in LIST, everything is ftp's, number 0 (the draft of MFF lets owner and group be a number).
func (f facts) appendOwner(b []byte) []byte {
	for _, o := range [...]struct {
		fact facts
		text string
	}{
		{factOwner, "UNIX.owner=0;"}, {factOwnerName, "UNIX.ownername=ftp;"}, {factGroup, "UNIX.group=0;"}, {factGroupName, "UNIX.groupname=ftp;"},
	} {
		if f&o.fact != 0 {
			b = append(b, o.text...)
		}
	}
	return b
}

// appendOctal writes the permission bits with four digits.
func appendOctal(b []byte, m fs.FileMode) []byte {
	return append(b, '0', byte('0'+m>>6&7), byte('0'+m>>3&7), byte('0'+m&7))
}

// appendStamp writes YYYYMMDDHHMMSS in UTC.
func appendStamp(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	year = min(max(year, 0), 9999) // what a mounted file system has may be beyond
	b = append2(append2(b, year/100), year%100)
	b = append2(append2(b, int(month)), day)
	return append2(append2(append2(b, hour), minute), second)
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10%10), byte('0'+n%10)) }

// appendName writes a name so that it stays on its line, whatever it holds.
func appendName(b []byte, name string) []byte {
	start := len(b)
	b = append(b, name...)
	for i := start; i < len(b); i++ {
		if b[i] < ' ' || b[i] == 0x7f {
			b[i] = '?'
		}
	}
	return b
}

// appendLs writes a line as ls -l does, which is what clients parse: English months, UTC; the time within half a year, else the year.
func appendLs(b []byte, i vfs.Info, now time.Time, f *lsFlags) []byte {
	if f.short {
		return append(appendSuffix(appendName(b, i.Name()), i, f), "\r\n"...)
	}
	b = appendMode(b, i.Mode(), i.IsDir())
	if f.numeric {
		b = append(b, "   1 0        0        "...)
	} else {
		b = append(b, "   1 ftp      ftp      "...)
	}
	size := i.Size()
	if i.IsDir() {
		size = 0
	}
	b = appendRight(b, size, 12)
	t := i.ModTime().UTC()
	year, month, day := t.Date()
	b = append(append(append(b, ' '), month.String()[:3]...), ' ')
	b = append2(b, day)
	b = append(b, ' ')
	if age := now.Sub(t); age < 180*24*time.Hour && age > -24*time.Hour {
		hour, minute, _ := t.Clock()
		b = append2(append(append2(b, hour), ':'), minute)
	} else {
		b = appendRight(b, int64(min(max(year, 0), 9999)), 5)
	}
	b = append(b, ' ')
	return append(appendSuffix(appendName(b, i.Name()), i, f), "\r\n"...)
}

// appendSuffix is ls -F.
func appendSuffix(b []byte, i vfs.Info, f *lsFlags) []byte {
	switch {
	case f.classify && i.IsDir():
		b = append(b, '/')
	case f.classify && i.Mode()&0o111 != 0:
		b = append(b, '*')
	}
	return b
}

func appendRight(b []byte, n int64, width int) []byte {
	var tmp [20]byte
	s := strconv.AppendInt(tmp[:0], n, 10)
	for range width - len(s) {
		b = append(b, ' ')
	}
	return append(b, s...)
}

func appendMode(b []byte, m fs.FileMode, dir bool) []byte {
	if dir {
		b = append(b, 'd')
	} else {
		b = append(b, '-')
	}
	const letters = "rwxrwxrwx"
	for i := range letters {
		if m&(1<<(8-i)) != 0 {
			b = append(b, letters[i])
		} else {
			b = append(b, '-')
		}
	}
	return b
}
