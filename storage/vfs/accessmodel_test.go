package vfs_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/text/unicode/norm"
	"pgregory.net/rapid"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

// naiveAccess is what rights mean, without any index or cache: each question goes through all rules.
type naiveAccess struct {
	rules map[string]storage.PathRights
	jail  string // "" for "/"
}

// covers tells whether path is dir or below it.
func covers(dir, path string) bool {
	return dir == "/" || path == dir || strings.HasPrefix(path, dir+"/")
}

func (n *naiveAccess) rights(p string) storage.PathRights {
	best, found := "", false
	for q := range n.rules {
		if covers(q, p) && (!found || len(q) > len(best)) {
			best, found = q, true
		}
	}
	if !found {
		return storage.CanAll
	}
	return n.rules[best]
}

func (n *naiveAccess) may(p string, r storage.PathRights) bool { return n.rights(p)&r == r }

// ruled tells whether something at or (with strictly) below p has rights of its own.
func (n *naiveAccess) ruled(p string, strictly bool) bool {
	for q := range n.rules {
		if covers(p, q) && (q != p || !strictly) {
			return true
		}
	}
	return false
}

func (n *naiveAccess) leads(p string) bool {
	for q, r := range n.rules {
		if covers(p, q) && r != 0 {
			return true
		}
	}
	return false
}

func (n *naiveAccess) root(p string) bool { return p == "/" || p == n.jail }

func (n *naiveAccess) sees(p string) bool {
	if n.root(p) || n.leads(p) {
		return true
	}
	return n.rights(p) != 0 && (n.may(p, storage.CanDownload) || n.may(path.Dir(p), storage.CanList))
}

func (n *naiveAccess) lists(p string) bool {
	return n.may(p, storage.CanList) || n.ruled(p, true) && n.leads(p)
}

// listing is what of a folder's entries is shown.
func (n *naiveAccess) listing(m *model, p string) []string {
	var names []string
	entry := func(q string) {
		if q == "/" || path.Dir(q) != p {
			return
		}
		if n.ruled(q, false) && n.sees(q) || !n.ruled(q, false) && n.may(p, storage.CanList) {
			names = append(names, path.Base(q))
		}
	}
	for q := range maps.Keys(m.Folders) {
		entry(q)
	}
	for q := range maps.Keys(m.Files) {
		entry(q)
	}
	if p == "/" {
		entry("/Mail")
	}
	slices.Sort(names)
	return names
}

// changes tells whether what is under p, which is not its root, may be changed by right r.
func (n *naiveAccess) changes(p string, r storage.PathRights) bool {
	return !n.root(p) && n.may(p, r) && n.sees(p)
}

const keptRights = storage.CanList | storage.CanDownload | storage.CanOverwrite | storage.CanDelete | storage.CanRename

// moves tells whether the rights let a file or folder be renamed.
func (n *naiveAccess) moves(m *model, a, b string) bool {
	need := storage.CanUpload
	if m.folder(a) {
		need = storage.CanMkdir
	}
	_, replaced := m.Files[b]
	switch {
	case !n.changes(a, storage.CanRename), n.root(b), !n.sees(b), !n.may(b, need):
		return false
	case len(n.rules) == 0:
		return true
	case n.ruled(a, false), m.folder(a) && n.ruled(b, true), n.rights(b)&^n.rights(a)&keptRights != 0:
		return false
	}
	return a == b || !replaced || n.may(b, storage.CanOverwrite)
}

// accessRun is one run of the model: a tree with rights, the whole of it, and what both should be.
type accessRun struct {
	*house
	whole *house
	m     *model
	n     *naiveAccess
	texts int
}

var asideName = regexp.MustCompile(`^(.*)-[0-9a-f]{8}(\.[a-z]+)?$`)

// put uploads and says what the model thinks of it.
func (r *accessRun) put(t *rapid.T, p, abs string) {
	r.texts++
	text := fmt.Sprint("text ", r.texts)
	_, err := r.tryPut(p, text, vfs.CreateOptions{Expect: -1})
	blind := !r.n.may(abs, storage.CanOverwrite) && !r.n.sees(abs)
	want := !r.n.root(abs) && r.n.may(abs, storage.CanUpload) && r.m.folder(path.Dir(abs))
	switch {
	case !want:
	case blind && r.m.exists(abs):
		r.m.Files[r.aside(t, abs, text)] = text
	case r.n.may(abs, storage.CanOverwrite) || !r.m.exists(abs):
		want = r.m.put(abs, text)
	default:
		want = false
	}
	r.check(t, "put "+abs, want, err)
	r.denied(t, "put "+abs, r.n.root(abs) || r.n.may(abs, storage.CanUpload), err)
}

// aside finds where an upload went whose name was taken.
func (r *accessRun) aside(t *rapid.T, abs, text string) string {
	for i, err := range r.whole.ReadDir(r.ctx(), path.Dir(abs)) {
		if err != nil {
			t.Fatal(err)
		}
		m, q := asideName.FindStringSubmatch(i.Name()), path.Join(path.Dir(abs), i.Name())
		if m != nil && m[1]+m[2] == path.Base(abs) && r.whole.get(q) == text {
			return q
		}
	}
	t.Fatalf("what was uploaded to %s is nowhere", abs)
	return ""
}

func (r *accessRun) check(t *rapid.T, what string, want bool, err error) {
	if (err == nil) != want {
		t.Fatalf("%s: %v, the model says %v (rights %v, jail %q)", what, err, want, r.n.rules, r.n.jail)
	}
}

// denied checks that a refusal by rights says so, whether there is something or not.
func (r *accessRun) denied(t *rapid.T, what string, may bool, err error) {
	if !may && !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("%s: %v, which tells what is there (rights %v, jail %q)", what, err, r.n.rules, r.n.jail)
	}
}

func (r *accessRun) rename(t *rapid.T, p, q, from, to string) {
	may := r.n.changes(from, storage.CanRename) && r.n.sees(to)
	err := r.Rename(r.ctx(), p, q)
	what := "rename " + from + " " + to
	r.check(t, what, r.n.moves(r.m, from, to) && r.m.rename(from, to), err)
	r.denied(t, what, may || r.n.root(from), err)
}

// look checks all that only reads.
func (r *accessRun) look(t *rapid.T, p, abs string) {
	i, err := r.Stat(r.ctx(), p)
	r.check(t, "stat "+abs, r.n.sees(abs) && (r.m.exists(abs) || abs == "/Mail"), err)
	r.denied(t, "stat "+abs, r.n.sees(abs), err)
	if err == nil {
		r.perm(t, abs, i)
	}
	_, file := r.m.Files[abs]
	f, err := r.Open(r.ctx(), p)
	r.check(t, "open "+abs, r.n.may(abs, storage.CanDownload) && file, err)
	r.denied(t, "open "+abs, r.n.may(abs, storage.CanDownload), err)
	if err == nil {
		b, _ := io.ReadAll(f)
		f.Close()
		if string(b) != r.m.Files[abs] {
			t.Fatalf("%s holds %q, want %q", abs, b, r.m.Files[abs])
		}
	}
	names := []string(nil)
	err = nil
	for i, e := range r.ReadDir(r.ctx(), p) {
		if err = e; e == nil {
			names = append(names, i.Name())
			r.perm(t, path.Join(abs, i.Name()), i)
		}
	}
	r.check(t, "list "+abs, r.n.lists(abs) && r.m.folder(abs), err)
	r.denied(t, "list "+abs, r.n.lists(abs), err)
	slices.Sort(names)
	if diff := cmp.Diff(r.n.listing(r.m, abs), names); err == nil && diff != "" {
		t.Fatalf("listing of %s (rights %v):\n%s", abs, r.n.rules, diff)
	}
}

// perm checks that no permission is shown which there is not.
func (r *accessRun) perm(t *rapid.T, abs string, i vfs.Info) {
	for letter, right := range map[string]storage.PathRights{
		"a": storage.CanOverwrite | storage.CanUpload, "c": storage.CanUpload, "d": storage.CanDelete, "f": storage.CanRename,
		"m": storage.CanMkdir, "p": storage.CanDelete, "r": storage.CanDownload, "w": storage.CanOverwrite | storage.CanUpload,
	} {
		if strings.Contains(i.Perm(), letter) && !r.n.may(abs, right) {
			t.Fatalf("%s has perm %s with the rights %v", abs, i.Perm(), r.n.rights(abs))
		}
	}
	if (strings.Contains(i.Perm(), "d") || strings.Contains(i.Perm(), "f")) && (r.n.root(abs) || r.n.ruled(abs, false)) {
		t.Fatalf("%s has perm %s and cannot go", abs, i.Perm())
	}
}

// Whatever is done under whatever rights, what happens is what a naive reading of the rights allows, and nothing else is told.
func TestAccessModel(t *testing.T) {
	s := storagetest.New(t)
	views := vfs.New(s, vfs.Options{})
	accounts := 0
	name := rapid.SampledFrom([]string{"a", "a", "a", "b", "b", "b", "A", "\u00e9"})
	absPath := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.Join(rapid.SliceOfN(name, 0, 3).Draw(t, "names"), "/")
	})
	// The same path as clients may write it.
	spelled := func(t *rapid.T, p string) string {
		if rapid.Bool().Draw(t, "decomposed") {
			p = norm.NFD.String(p)
		}
		return fmt.Sprintf(rapid.SampledFrom([]string{"%s", "/..%s", "/x/../..%s", "/%s/.", "//./%s/x/.."}).Draw(t, "spelling"), p)
	}
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		accounts++
		a := storagetest.Account(outer, s, fmt.Sprintf("u%d@example.test", accounts))
		r := &accessRun{
			house: &house{TB: outer, Tree: views.Tree(a), store: s, account: a},
			whole: &house{TB: outer, Tree: views.Whole(a), store: s, account: a},
			m:     newModel(), n: &naiveAccess{rules: map[string]storage.PathRights{}},
		}
		ctx := r.ctx()
		draw := func(t *rapid.T, label string) (p, abs string) {
			p = absPath.Draw(t, label)
			abs = path.Join("/", r.n.jail, p)
			return spelled(t, p), abs
		}
		for _, p := range []string{"/a", "/b", "/a/b", "/b/a", "/b/A"} {
			if err := r.whole.Mkdir(ctx, p); err != nil {
				t.Fatal(err)
			}
			r.m.mkdir(p)
		}
		for _, p := range []string{"/a/a", "/b/b", "/a/b/a", "/b/a/b"} {
			r.whole.put(p, p)
			r.m.put(p, p)
		}
		rule := func(t *rapid.T) {
			p := absPath.Draw(t, "path")
			set := rapid.OneOf(rapid.SampledFrom([]storage.PathRights{storage.CanAll, storage.CanAll, storage.CanList | storage.CanDownload, storage.CanUpload, 0}),
				rapid.Map(rapid.IntRange(0, int(storage.CanAll)), func(n int) storage.PathRights { return storage.CanAll &^ storage.PathRights(n) }),
				rapid.Map(rapid.IntRange(0, 6), func(n int) storage.PathRights { return storage.CanAll &^ (1 << n) })).Draw(t, "rights")
			r.n.rules[p] = set
			r.check(t, "set rights", true, s.SetPathRights(ctx, a.ID, p, set))
		}
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			rule(t)
		}
		actions := map[string]func(*rapid.T){
			"rights": func(t *rapid.T) {
				p := absPath.Draw(t, "path")
				if _, ok := r.n.rules[p]; ok && rapid.Bool().Draw(t, "drop") {
					delete(r.n.rules, p)
					r.check(t, "drop rights", true, s.DropPathRights(ctx, a.ID, p))
					return
				}
				rule(t)
			},
			"jail": func(t *rapid.T) {
				p := rapid.SampledFrom([]string{"/", "/", "/a", "/a/b"}).Draw(t, "path")
				r.check(t, "jail", true, s.SetJail(ctx, a.ID, p))
				if r.n.jail = p; p == "/" {
					r.n.jail = ""
				}
			},
			"outsider": func(t *rapid.T) { // somebody whom no rights hold
				from, to := absPath.Draw(t, "from"), absPath.Draw(t, "to")
				r.check(t, "whole rename", r.m.rename(from, to), r.whole.Rename(ctx, from, to))
				p := absPath.Draw(t, "folder")
				r.check(t, "whole mkdir", r.m.mkdir(p), r.whole.Mkdir(ctx, p))
			},
			"look": func(t *rapid.T) {
				p, abs := draw(t, "path")
				r.look(t, p, abs)
			},
			"put": func(t *rapid.T) {
				p, abs := draw(t, "path")
				r.put(t, p, abs)
			},
			"mkdir": func(t *rapid.T) {
				p, abs := draw(t, "path")
				err := r.Mkdir(ctx, p)
				may := r.n.may(abs, storage.CanMkdir)
				r.check(t, "mkdir "+abs, !r.n.root(abs) && may && r.m.mkdir(abs), err)
				r.denied(t, "mkdir "+abs, may || r.n.root(abs), err)
			},
			"remove": func(t *rapid.T) {
				p, abs := draw(t, "path")
				may := r.n.changes(abs, storage.CanDelete)
				err := r.RemoveFile(ctx, p)
				r.check(t, "remove "+abs, may && r.m.removeFile(abs), err)
				r.denied(t, "remove "+abs, may || r.n.root(abs), err)
			},
			"rmdir": func(t *rapid.T) {
				p, abs := draw(t, "path")
				may := r.n.changes(abs, storage.CanDelete)
				err := r.RemoveDir(ctx, p)
				r.check(t, "rmdir "+abs, may && !r.n.ruled(abs, false) && r.m.rmdir(abs), err)
				r.denied(t, "rmdir "+abs, may || r.n.root(abs), err)
			},
			"rename": func(t *rapid.T) {
				p, from := draw(t, "from")
				q, to := draw(t, "to")
				r.rename(t, p, q, from, to)
			},
			"rename file": func(t *rapid.T) { // most paths that are drawn lead nowhere
				files := slices.DeleteFunc(slices.Sorted(maps.Keys(r.m.Files)), func(f string) bool { return !covers(path.Join("/", r.n.jail), f) })
				if len(files) == 0 {
					return
				}
				from := rapid.SampledFrom(files).Draw(t, "from")
				q, to := draw(t, "to")
				if rapid.Bool().Draw(t, "onto another") {
					to = rapid.SampledFrom(files).Draw(t, "to")
					q = to[len(r.n.jail):]
				}
				r.rename(t, from[len(r.n.jail):], q, from, to)
			},
			"touch": func(t *rapid.T) {
				p, abs := draw(t, "path")
				may := r.n.changes(abs, storage.CanOverwrite)
				err := r.SetModified(ctx, p, time.Unix(1e9, 0))
				r.check(t, "touch "+abs, may && r.m.exists(abs), err)
				r.denied(t, "touch "+abs, may || r.n.root(abs), err)
			},
			"": func(t *rapid.T) {
				got, _ := read(r.whole)
				if diff := cmp.Diff(r.m, got); diff != "" {
					t.Fatalf("the tree is another (-model +tree):\n%s", diff)
				}
			},
		}
		for _, often := range []string{"rename file", "rename", "look", "put"} {
			for i := range 2 {
				actions[fmt.Sprint(often, i)] = actions[often]
			}
		}
		t.Repeat(actions)
	})
}
