package vfs_test

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// model is a naive tree: what the real one must look like.
type model struct {
	Folders map[string]bool
	Files   map[string]string   // text by path
	Boxes   map[string]string   // special use by path
	Mail    map[string][]string // subjects by mailbox, sorted
}

func newModel() *model {
	return &model{
		Folders: map[string]bool{"/": true},
		Files:   map[string]string{},
		Boxes: map[string]string{
			"/Mail/INBOX": "", "/Mail/Drafts": "Drafts", "/Mail/Sent": "Sent", "/Mail/Archive": "Archive", "/Mail/Junk": "Junk", "/Mail/Trash": "Trash",
		},
		Mail: map[string][]string{},
	}
}

func isMail(p string) bool { return p == "/Mail" || strings.HasPrefix(p, "/Mail/") }

func (m *model) box(p string) bool { _, ok := m.Boxes[p]; return ok }

// folder tells whether something can be made in p.
func (m *model) folder(p string) bool { return m.Folders[p] || p == "/Mail" || m.box(p) }

func (m *model) exists(p string) bool {
	_, file := m.Files[p]
	return file || m.folder(p)
}

func (m *model) empty(p string) bool {
	below := func(q string) bool { return strings.HasPrefix(q, p+"/") }
	for q := range m.Folders {
		if below(q) {
			return false
		}
	}
	for q := range m.Files {
		if below(q) {
			return false
		}
	}
	for q := range m.Boxes {
		if below(q) {
			return false
		}
	}
	return len(m.Mail[p]) == 0
}

func (m *model) mkdir(p string) bool {
	if !m.folder(path.Dir(p)) || m.exists(p) {
		return false
	}
	if isMail(p) {
		m.Boxes[p] = ""
	} else {
		m.Folders[p] = true
	}
	return true
}

func (m *model) put(p, text string) bool {
	if !m.folder(path.Dir(p)) || m.folder(p) {
		return false
	}
	m.Files[p] = text
	return true
}

func (m *model) deliver(box, subject string) bool {
	if !m.box(box) {
		return false
	}
	m.Mail[box] = append(m.Mail[box], subject)
	slices.Sort(m.Mail[box])
	return true
}

func (m *model) take(box, subject string) bool {
	i := slices.Index(m.Mail[box], subject)
	if i < 0 {
		return false
	}
	if m.Mail[box] = slices.Delete(m.Mail[box], i, i+1); len(m.Mail[box]) == 0 {
		delete(m.Mail, box)
	}
	return true
}

func (m *model) removeMessage(box, subject string) bool {
	if !m.take(box, subject) {
		return false
	}
	for trash, role := range m.Boxes {
		if role == "Trash" && box != trash && !strings.HasPrefix(box, trash+"/") {
			m.deliver(trash, subject)
		}
	}
	return true
}

func (m *model) copy(from, to string) bool {
	text, file := m.Files[from]
	return file && !isMail(to) && m.put(to, text)
}

func (m *model) removeFile(p string) bool {
	_, ok := m.Files[p]
	delete(m.Files, p)
	return ok
}

func (m *model) rmdir(p string) bool {
	if p == "/" || p == "/Mail" || p == "/Mail/INBOX" || m.Boxes[p] != "" || !m.folder(p) || !m.empty(p) {
		return false
	}
	delete(m.Folders, p)
	delete(m.Boxes, p)
	return true
}

func (m *model) rename(from, to string) bool {
	if !m.exists(from) || from == "/" || from == "/Mail" || to == "/" || to == "/Mail" {
		return false
	}
	if from == to {
		return true
	}
	text, file := m.Files[from]
	if file && isMail(to) {
		subject, ok := strings.CutPrefix(text, "Subject: ")
		if !ok || m.folder(to) || !m.deliver(path.Dir(to), strings.TrimSpace(subject)) {
			return false
		}
		return m.removeFile(from)
	}
	if isMail(from) != isMail(to) || from == "/Mail/INBOX" || !m.folder(path.Dir(to)) {
		return false
	}
	if file {
		if m.folder(to) {
			return false
		}
		delete(m.Files, from)
		m.Files[to] = text
		return true
	}
	if m.exists(to) || strings.HasPrefix(to, from+"/") {
		return false
	}
	moveKeys(m.Folders, from, to)
	moveKeys(m.Files, from, to)
	moveKeys(m.Boxes, from, to)
	moveKeys(m.Mail, from, to)
	return true
}

func moveKeys[V any](all map[string]V, from, to string) {
	for _, k := range slices.Collect(maps.Keys(all)) {
		if k == from || strings.HasPrefix(k, from+"/") {
			v := all[k]
			delete(all, k)
			all[to+k[len(from):]] = v
		}
	}
}

// read makes a model of the real tree. bytes is what it takes.
func read(h *house) (m *model, bytes int64) {
	m = newModel()
	m.Boxes = map[string]string{}
	var walk func(p string)
	walk = func(p string) {
		for i, err := range h.ReadDir(h.ctx(), p) {
			if err != nil {
				h.Fatal(err)
			}
			q := path.Join(p, i.Name())
			switch {
			case i.IsMessage():
				_, subject, _ := strings.Cut(i.Name()[len("2026-11-09 "):], " ")
				m.Mail[p] = append(m.Mail[p], subject[:strings.LastIndex(subject, " (")])
				bytes += i.Size()
			case i.IsMailbox():
				box, err := h.store.Mailbox(h.ctx(), h.account.ID, strings.TrimPrefix(q, "/Mail/"))
				if err != nil {
					h.Fatal(err)
				}
				m.Boxes[q] = box.Role
			case i.IsDir() && q != "/Mail":
				m.Folders[q] = true
			case !i.IsDir():
				m.Files[q] = h.get(q)
				bytes += i.Size()
			}
			if i.IsDir() {
				walk(q)
			}
		}
		slices.Sort(m.Mail[p])
	}
	walk("/")
	return m, bytes
}

// messagePath finds a message by its subject.
func (h *house) messagePath(box, subject string) string {
	for i, err := range h.ReadDir(h.ctx(), box) {
		if err == nil && i.IsMessage() && strings.Contains(i.Name(), " "+subject+" (") {
			return box + "/" + i.Name()
		}
	}
	return box + "/2026-11-09 0730 none (77).eml"
}

// Whatever is done, the tree is what a naive one would be, and the quota counts what is in it.
func TestModel(t *testing.T) {
	s := storagetest.New(t)
	views := vfs.New(s, vfs.Options{})
	accounts, uploads := 0, 0
	name := rapid.SampledFrom([]string{"a", "b", "c"})
	filePath := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(name, 1, 3).Draw(t, "names"), "/")
	})
	boxPath := rapid.Custom(func(t *rapid.T) string {
		top := rapid.SampledFrom([]string{"/Mail/INBOX", "/Mail/Trash", "/Mail/Sent", "/Mail/a", "/Mail/b"}).Draw(t, "top")
		return top + rapid.SampledFrom([]string{"", "", "/a", "/b", "/a/b"}).Draw(t, "sub")
	})
	anyPath := rapid.OneOf(filePath, boxPath)
	subject := rapid.SampledFrom([]string{"one", "two", "three"})
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		accounts++
		a := storagetest.Account(outer, s, fmt.Sprintf("u%d@example.test", accounts))
		h, m := &house{TB: outer, Tree: views.Tree(a), store: s, account: a}, newModel()
		ctx := h.ctx()
		check := func(what string, want bool, err error) {
			if (err == nil) != want {
				t.Fatalf("%s: %v, the model says %v", what, err, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"mkdir": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("mkdir "+p, m.mkdir(p), h.Mkdir(ctx, p))
			},
			"put": func(t *rapid.T) {
				p := filePath.Draw(t, "path")
				text := rapid.SampledFrom([]string{"", "text", "Subject: four\n", "Subject: five\n"}).Draw(t, "text")
				_, err := h.tryPut(p, text, vfs.CreateOptions{Expect: -1})
				check("put "+p, m.put(p, text), err)
			},
			"upload": func(t *rapid.T) {
				box, s := boxPath.Draw(t, "box"), subject.Draw(t, "subject")
				uploads++ // each another one: the same again would do nothing
				_, err := h.tryPut(fmt.Sprintf("%s/%d.eml", box, uploads), letter(s, monday), vfs.CreateOptions{Expect: -1})
				check("upload "+box, m.deliver(box, s), err)
			},
			"remove": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("remove "+p, m.removeFile(p), h.RemoveFile(ctx, p))
			},
			"rmdir": func(t *rapid.T) {
				p := anyPath.Draw(t, "path")
				check("rmdir "+p, m.rmdir(p), h.RemoveDir(ctx, p))
			},
			"rename": func(t *rapid.T) {
				from, to := anyPath.Draw(t, "from"), anyPath.Draw(t, "to")
				if _, file := m.Files[from]; file && isMail(to) {
					uploads++ // an alias of its own, which nothing else here asks for
					to = fmt.Sprintf("%s%d.eml", to, uploads)
				}
				check("rename "+from+" "+to, m.rename(from, to), h.Rename(ctx, from, to))
			},
			"copy": func(t *rapid.T) {
				from, to := anyPath.Draw(t, "from"), anyPath.Draw(t, "to")
				check("copy "+from+" "+to, m.copy(from, to), h.Copy(ctx, from, to))
			},
			"delete message": func(t *rapid.T) {
				box, s := boxPath.Draw(t, "box"), subject.Draw(t, "subject")
				p := h.messagePath(box, s)
				check("delete "+p, m.removeMessage(box, s), h.RemoveFile(ctx, p))
			},
			"move message": func(t *rapid.T) {
				from, to, s := boxPath.Draw(t, "from"), boxPath.Draw(t, "to"), subject.Draw(t, "subject")
				p := h.messagePath(from, s)
				want := slices.Contains(m.Mail[from], s) && m.box(to) && from != to
				if want {
					m.take(from, s)
					m.deliver(to, s)
				}
				check("move "+p, want, h.Rename(ctx, p, to+"/kept.eml"))
			},
			"": func(t *rapid.T) {
				got, bytes := read(h)
				if diff := cmp.Diff(m, got); diff != "" {
					t.Fatalf("the tree is another (-model +tree):\n%s", diff)
				}
				if used, _, err := h.Usage(ctx); err != nil || used != bytes {
					t.Fatalf("usage %d, %v; the tree has %d", used, err, bytes)
				}
			},
		})
	})
}
