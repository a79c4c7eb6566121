package storage

import "container/heap"

// ranked is what a pile holds. at tells it where it lies now.
type ranked[T any] interface {
	before(T) bool
	at(int)
}

// pile is a heap (container/heap) of which the first can be visited in order without taking them out.
type pile[T ranked[T]] []T

// Len and those below are heap.Interface's.
func (h pile[T]) Len() int           { return len(h) }
func (h pile[T]) Less(i, j int) bool { return h[i].before(h[j]) }
func (h pile[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at(i)
	h[j].at(j)
}

// Push adds one at the end.
func (h *pile[T]) Push(x any) {
	i := x.(T)
	i.at(len(*h))
	*h = append(*h, i)
}

// Pop takes the last one.
func (h *pile[T]) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	clear((*h)[last:])
	*h = (*h)[:last]
	return i
}

// walk visits all in order, the first first, until fn returns false. It costs what it visits.
func (h pile[T]) walk(fn func(T) bool) {
	if len(h) == 0 {
		return
	}
	next := frontier[T]{h, append(make([]int, 0, 16), 0)}
	for len(next.at) > 0 {
		n := heap.Pop(&next).(int)
		if !fn(h[n]) {
			return
		}
		for c := 2*n + 1; c <= 2*n+2 && c < len(h); c++ {
			heap.Push(&next, c)
		}
	}
}

// frontier are the indexes of those that may be next: a heap of its own.
type frontier[T ranked[T]] struct {
	items pile[T]
	at    []int
}

func (f *frontier[T]) Len() int           { return len(f.at) }
func (f *frontier[T]) Less(i, j int) bool { return f.items[f.at[i]].before(f.items[f.at[j]]) }
func (f *frontier[T]) Swap(i, j int)      { f.at[i], f.at[j] = f.at[j], f.at[i] }

// Push and Pop are heap.Interface's.
func (f *frontier[T]) Push(x any) { f.at = append(f.at, x.(int)) }

func (f *frontier[T]) Pop() any {
	last := len(f.at) - 1
	n := f.at[last]
	f.at = f.at[:last]
	return n
}
