package vfs

import "sync"

// reserved are the names that uploads under way have chosen for themselves.
type reserved struct {
	mu    sync.Mutex
	names map[reservation]struct{}
}

type reservation struct {
	account int64
	path    string
}

// Reserve keeps a name for who chose it because it was free, until release is called (once): of two who choose at the same time, one gets it. It holds against others
// who reserve, not against who uploads under a name of his own.
func (t *Tree) Reserve(path string) (release func(), ok bool) {
	r, key := &t.fs.reserved, reservation{t.account, path}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, taken := r.names[key]; taken {
		return nil, false
	}
	if r.names == nil {
		r.names = make(map[reservation]struct{})
	}
	r.names[key] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.names, key)
	}, true
}
