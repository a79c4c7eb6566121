package auth

import "container/list"

// lru is a map that keeps at most max entries and drops the one that was longest
// unused. It is not safe for concurrent use: its owner's mutex guards it.
type lru[K comparable, V any] struct {
	max   int
	order *list.List // of *lruEntry[K, V], the latest used first
	at    map[K]*list.Element
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](max int) *lru[K, V] {
	return &lru[K, V]{max: max, order: list.New(), at: make(map[K]*list.Element)}
}

// get returns the value of k and makes it the latest used; nil if there is none.
// The pointer is good until the next put.
func (l *lru[K, V]) get(k K) *V {
	e, ok := l.at[k]
	if !ok {
		return nil
	}
	l.order.MoveToFront(e)
	return &e.Value.(*lruEntry[K, V]).value
}

// put returns the value of k, a zero one if it was not there.
func (l *lru[K, V]) put(k K) *V {
	if v := l.get(k); v != nil {
		return v
	}
	if l.order.Len() >= l.max {
		oldest := l.order.Back()
		delete(l.at, oldest.Value.(*lruEntry[K, V]).key)
		l.order.Remove(oldest)
	}
	e := &lruEntry[K, V]{key: k}
	l.at[k] = l.order.PushFront(e)
	return &e.value
}

func (l *lru[K, V]) remove(k K) {
	if e, ok := l.at[k]; ok {
		delete(l.at, k)
		l.order.Remove(e)
	}
}

// removeIf removes every entry for which drop is true. It looks at all of them.
func (l *lru[K, V]) removeIf(drop func(K, *V) bool) {
	for e := l.order.Front(); e != nil; {
		next := e.Next()
		if v := e.Value.(*lruEntry[K, V]); drop(v.key, &v.value) {
			delete(l.at, v.key)
			l.order.Remove(e)
		}
		e = next
	}
}

func (l *lru[K, V]) len() int { return l.order.Len() }
