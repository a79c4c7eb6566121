package vfs

import (
	"io/fs"
	"strconv"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Info is what a name is. It is an fs.FileInfo.
type Info struct {
	name     string
	kind     storage.Kind // 0 for a message
	size     int64
	modified time.Time
	mode     fs.FileMode
	id       int64
	perm     string

	host bool   // it is on a mount: id is its inode
	dev  uint64 // where host is set: the device
	link bool   // a listing saw it through a link of the host
}

// The perm facts (RFC 3659 section 7.5.5): a append, c create in it, d delete, e enter, f rename, l list, m make folders,
// p delete what is in it, r retrieve, w store.
const (
	permHome     = "celmp"
	permMail     = "elmp"
	permInbox    = "celmp"
	permSpecial  = "ceflmp"
	permMailbox  = "cdeflmp"
	permNoSelect = "deflmp"
	permFolder   = "cdeflmp"
	permFile     = "adfrw"
	permMessage  = "dfr"
)

const messageMode = 0o600

func (i Info) Name() string       { return i.name }
func (i Info) Size() int64        { return i.size }     // bytes; of a mailbox that of its messages
func (i Info) Mode() fs.FileMode  { return i.mode }     // fs.ModeDir set on folders
func (i Info) ModTime() time.Time { return i.modified } // of a message: its internal date
func (i Info) IsDir() bool        { return i.mode.IsDir() }
func (i Info) Sys() any           { return nil }

// IsMessage tells whether it is a message, and IsMailbox whether it is a folder that can hold messages.
func (i Info) IsMessage() bool { return i.kind == 0 }
func (i Info) IsMailbox() bool { return i.kind == storage.KindMailbox }

// IsLink tells of an entry of a listing whether it is a link on the host, of whose target the rest of the Info tells.
func (i Info) IsLink() bool { return i.link }

// Unique is RFC 3659's unique fact: the same for the same file or message, whatever it is called.
func (i Info) Unique() string {
	b := make([]byte, 0, 32)
	if i.host {
		b = append(strconv.AppendUint(append(b, 'h'), i.dev, 36), '.')
		return string(strconv.AppendUint(b, uint64(i.id), 36))
	}
	if i.kind == 0 {
		b = append(b, 'm')
	} else {
		b = append(b, 'n')
	}
	return string(strconv.AppendInt(b, i.id, 36))
}

// Perm is RFC 3659's perm fact, true to what the tree allows here.
func (i Info) Perm() string { return i.perm }

// nodeInfo is the Info of a node. depth is how many names lead to it; role is its special use when it is a mailbox.
func (t *Tree) nodeInfo(n storage.Node, depth int, mail bool, role string) Info {
	i := Info{name: n.Name, kind: n.Kind, size: n.Size, modified: n.Modified, id: n.ID, mode: n.Mode.Perm()}
	if n.Kind == storage.KindFile {
		i.perm = permFile
		return i
	}
	i.mode |= fs.ModeDir
	switch {
	case depth == 0:
		i.name, i.perm = "/", permHome
	case !mail:
		i.perm = permFolder
	case depth == 1:
		i.perm = permMail
	case depth == 2 && n.Name == "INBOX":
		i.perm = permInbox
	case role != "":
		i.perm = permSpecial
	case n.Kind == storage.KindMailbox:
		i.perm = permMailbox
	default:
		i.perm = permNoSelect
	}
	return i
}

func messageInfo(name string, e storage.Entry) Info {
	return Info{
		name: name, size: int64(e.Size), modified: time.Unix(e.InternalDate, 0),
		mode: messageMode, id: e.ID, perm: permMessage,
	}
}
