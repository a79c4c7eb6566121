package storage

import (
	"fmt"
	"strings"
)

// PathRights are what may be done with a path of an account's tree, as a set of bits that are stored. (Rights are those on mailboxes, which IMAP knows.)
type PathRights uint16

// The rights. Those of a folder hold for what is in it, unless a path below has rights of its own.
const (
	CanList      PathRights = 1 << iota // see the names in a folder, and what they are
	CanDownload                         // read a file or message
	CanUpload                           // store a file or message under a new name
	CanOverwrite                        // with CanUpload: replace a file or append to it; alone: set its time and mode
	CanDelete                           // remove a file, message or empty folder
	CanRename                           // give a file, message or folder another name or place, where CanUpload or CanMkdir are wanted
	CanMkdir                            // make a folder

	CanAll = CanMkdir<<1 - 1
)

// pathRightNames are the words for the bits, in their order.
var pathRightNames = [...]string{"list", "download", "upload", "overwrite", "delete", "rename", "mkdir"}

// pathPresets are names for sets.
var pathPresets = [...]struct {
	name   string
	rights PathRights
}{
	{"full", CanAll},
	{"read", CanList | CanDownload},
	{"drop", CanUpload},
	{"none", 0},
}

// ParsePathRights reads "full", "read", "drop" or "none", or words with commas between ("list,download,upload"); words and names may be
// mixed. ErrInvalid.
func ParsePathRights(text string) (PathRights, error) {
	var r PathRights
	for word := range strings.SplitSeq(text, ",") {
		one, ok := pathRight(strings.ToLower(strings.TrimSpace(word)))
		if !ok {
			return 0, fmt.Errorf("%w: %q is no right: full, read, drop, none, or some of %s", ErrInvalid, word, strings.Join(pathRightNames[:], ","))
		}
		r |= one
	}
	return r, nil
}

func pathRight(word string) (PathRights, bool) {
	for _, p := range pathPresets {
		if p.name == word {
			return p.rights, true
		}
	}
	for i, name := range pathRightNames {
		if name == word {
			return 1 << i, true
		}
	}
	return 0, false
}

// String is what ParsePathRights reads: the name of the set, if it has one, or else the words.
func (r PathRights) String() string {
	for _, p := range pathPresets {
		if p.rights == r {
			return p.name
		}
	}
	return strings.Join(r.Words(), ",")
}

// Words are the rights one by one.
func (r PathRights) Words() []string {
	words := []string{}
	for i, name := range pathRightNames {
		if r&(1<<i) != 0 {
			words = append(words, name)
		}
	}
	return words
}
