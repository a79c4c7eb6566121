package ftp

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/storage/vfs"
)

// lsFlags are the options of ls that count in LIST, and those of order in NLST and STAT too. All others are ignored, and never taken for names.
type lsFlags struct {
	all       bool // -a, -A: * and ? match names that begin with a dot. Without a pattern they are listed anyway.
	self      bool // -d: a folder itself, not what is in it
	recursive bool // -R
	byTime    bool // -t: latest first
	bySize    bool // -S: largest first
	reverse   bool // -r
	classify  bool // -F: / behind the names of folders
	short     bool // -1: names only, unless -l comes later
	numeric   bool // -n: owner and group as numbers
}

// splitFlags takes options from the front, up to "--". What follows is a name, which may begin with a dash after "--" or as ./-name. It keeps its blanks, as
// names do in all commands; nothing but blanks is no name.
func splitFlags(arg string) (name string, f lsFlags) {
	for {
		trimmed := strings.TrimLeft(arg, " ")
		if trimmed == "" {
			return "", f
		}
		if trimmed[0] != '-' {
			return arg, f
		}
		option, rest, _ := strings.Cut(trimmed, " ")
		if option == "--" {
			return rest, f
		}
		for _, r := range option[1:] {
			f.set(r)
		}
		arg = rest
	}
}

func (f *lsFlags) set(r rune) {
	switch r {
	case 'a', 'A':
		f.all = true
	case 'd':
		f.self = true
	case 'R':
		f.recursive = true
	case 't':
		f.byTime, f.bySize = true, false
	case 'S':
		f.bySize, f.byTime = true, false
	case 'r':
		f.reverse = true
	case 'F', 'p':
		f.classify = true
	case '1':
		f.short = true
	case 'l':
		f.short = false
	case 'n':
		f.numeric = true
	}
}

// maxSorted is how many entries are sorted; a larger folder comes by name, so that memory stays bounded.
const maxSorted = 10_000

// ordered gives the entries in the order that the flags ask for.
func (f *lsFlags) ordered(entries iter.Seq2[vfs.Info, error]) iter.Seq2[vfs.Info, error] {
	if !f.byTime && !f.bySize && !f.reverse {
		return entries
	}
	return func(yield func(vfs.Info, error) bool) {
		var all []vfs.Info
		streaming := false
		flush := func() bool {
			for _, i := range all {
				if !yield(i, nil) {
					return false
				}
			}
			all = nil
			return true
		}
		for i, err := range entries {
			switch {
			case err != nil:
				if flush() {
					yield(i, err)
				}
				return
			case streaming:
				if !yield(i, nil) {
					return
				}
			case len(all) < maxSorted:
				all = append(all, i)
			default:
				if streaming = true; !flush() || !yield(i, nil) {
					return
				}
			}
		}
		f.sort(all)
		flush()
	}
}

func (f *lsFlags) sort(all []vfs.Info) {
	slices.SortStableFunc(all, func(a, b vfs.Info) int {
		switch {
		case f.byTime:
			return b.ModTime().Compare(a.ModTime())
		case f.bySize:
			return cmp.Compare(b.Size(), a.Size())
		}
		return 0
	})
	if f.reverse {
		slices.Reverse(all)
	}
}
