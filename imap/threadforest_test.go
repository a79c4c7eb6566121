package imap

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// letter is a message as the tests write it.
type letter struct {
	id      string
	refs    []string
	subject string // base subject
	reply   bool
	sent    int
	arrived int
}

// grown is the forest of letters.
func grown(letters []letter, algorithm string) *forest {
	f := newForest(len(letters))
	number := func(s string) (n uint64) {
		for _, c := range []byte(s) {
			n = n<<8 | uint64(c)
		}
		return n
	}
	for i, l := range letters {
		f.messages[i] = threaded{sent: int64(l.sent), arrived: int64(l.arrived), id: number(l.id), subject: number(l.subject), reply: l.reply, refs: uint32(len(f.ids))}
		for _, r := range l.refs {
			f.ids = append(f.ids, number(r))
		}
	}
	if err := algorithms[algorithm](f); err != nil {
		panic(err)
	}
	return f
}

// told is the forest as a tree of numbers, written without care for depth.
func (f *forest) told() string {
	var b strings.Builder
	var tell func(n int32)
	tell = func(n int32) {
		b.WriteString("(")
		for {
			c := f.first[n]
			if !f.dummy(n) {
				fmt.Fprint(&b, n+1)
			}
			if c < 0 {
				break
			}
			if !f.dummy(n) {
				b.WriteString(" ")
			}
			if f.next[c] >= 0 {
				for ; c >= 0; c = f.next[c] {
					tell(c)
				}
				break
			}
			n = c
		}
		b.WriteString(")")
	}
	for _, r := range f.roots {
		tell(r)
	}
	return b.String()
}

func TestThreads(t *testing.T) {
	ids := func(s string) []string { return strings.Fields(s) }
	for _, c := range []struct {
		name, algorithm string
		letters         []letter
		want            string
	}{
		{"nothing", "REFERENCES", nil, ""},
		{"a chain", "REFERENCES", []letter{{id: "a"}, {id: "b", refs: ids("a")}, {id: "c", refs: ids("a b")}}, "(1 2 3)"},
		{"the child came first", "REFERENCES", []letter{{id: "b", refs: ids("a")}, {id: "a"}}, "(2 1)"},
		{"the parent is not there, one child", "REFERENCES", []letter{{id: "b", refs: ids("a")}}, "(1)"},
		{"the parent is not there, two children", "REFERENCES", []letter{{id: "b", refs: ids("a")}, {id: "c", refs: ids("a")}}, "((1)(2))"},
		{"a gap", "REFERENCES", []letter{{id: "a"}, {id: "d", refs: ids("a b c")}, {id: "e", refs: ids("a b")}}, "(1 (2)(3))"},
		{"a loop", "REFERENCES", []letter{{id: "a", refs: ids("b")}, {id: "b", refs: ids("a")}}, "(2 1)"},
		{"of itself", "REFERENCES", []letter{{id: "a", refs: ids("a")}}, "(1)"},
		{"the same id twice", "REFERENCES", []letter{{id: "a"}, {id: "a"}, {id: "b", refs: ids("a")}}, "(1 3)(2)"},
		{"what the message says counts more", "REFERENCES", []letter{{id: "c", refs: ids("a b")}, {id: "a"}, {id: "b", refs: ids("x")}, {id: "x"}}, "(2)(4 3 1)"},
		{"by date", "REFERENCES", []letter{{id: "a", sent: 5}, {id: "b", sent: 3}, {id: "c", refs: ids("a"), sent: 9}, {id: "d", refs: ids("a"), sent: 7}}, "(2)(1 (4)(3))"},
		{"replies join by subject", "REFERENCES", []letter{{subject: "s"}, {subject: "s", reply: true}, {subject: "t"}}, "(1 2)(3)"},
		{"a reply before its origin", "REFERENCES", []letter{{subject: "s", reply: true}, {subject: "s"}}, "(2 1)"},
		{"siblings by subject", "REFERENCES", []letter{{subject: "s"}, {subject: "s"}, {subject: "s", reply: true}}, "((1)(2)(3))"},
		{"dummies by subject", "REFERENCES", []letter{{id: "b", refs: ids("a"), subject: "s"}, {id: "c", refs: ids("a"), subject: "s"}, {id: "e", refs: ids("d"), subject: "s", sent: -1}, {id: "f", refs: ids("d"), subject: "s"}}, "((3)(1)(2)(4))"},
		{"no subject joins nothing", "REFERENCES", []letter{{}, {reply: true}}, "(1)(2)"},
		{"REFS leaves subjects alone", "REFS", []letter{{subject: "s"}, {subject: "s", reply: true}}, "(1)(2)"},
		{"REFS by arrival", "REFS", []letter{{id: "a", arrived: 1}, {id: "b", arrived: 2}, {id: "c", refs: ids("a"), arrived: 3}}, "(2)(1 3)"},
		{"ORDEREDSUBJECT", "ORDEREDSUBJECT", []letter{{subject: "s", sent: 4}, {subject: "t", sent: 3}, {subject: "s", sent: 1}, {subject: "s", sent: 2}, {}, {}}, "(5 6)(3 (4)(1))(2)"},
	} {
		if got := grown(c.letters, c.algorithm).told(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// twig is a node of slowThreads.
type twig struct {
	n      int // -1: dummy
	parent *twig
	kids   []*twig
}

func (x *twig) remove(k *twig) {
	i := slices.Index(x.kids, k)
	x.kids = slices.Delete(x.kids, i, i+1)
}

func (x *twig) add(k *twig) {
	k.parent = x
	x.kids = append(x.kids, k)
}

// slowThreads is the algorithm REFERENCES as RFC 5256 section 3 tells it, step by step.
func slowThreads(letters []letter) string {
	var own []*twig
	table, all := map[string]*twig{}, []*twig{}
	for i, l := range letters {
		x := &twig{n: i}
		own, all = append(own, x), append(all, x)
		if table[l.id] == nil && l.id != "" {
			table[l.id] = x
		}
	}
	below := func(a, b *twig) bool { // a is b or a descendant of it
		for ; a != nil; a = a.parent {
			if a == b {
				return true
			}
		}
		return false
	}
	for i, l := range letters { // (1)
		var before *twig
		for _, r := range l.refs {
			x := table[r]
			if x == nil {
				x = &twig{n: -1}
				table[r], all = x, append(all, x)
			}
			if before != nil && x.parent == nil && !below(before, x) {
				before.add(x)
			}
			before = x
		}
		x := own[i]
		if x.parent != nil {
			x.parent.remove(x)
			x.parent = nil
		}
		if before != nil && !below(before, x) {
			before.add(x)
		}
	}
	root := &twig{n: -1}
	for _, x := range all { // (2)
		if x.parent == nil {
			root.add(x)
		}
	}
	slowPrune(root, true)
	date := func(x *twig) [2]int {
		if x.n < 0 {
			x = x.kids[0]
		}
		return [2]int{letters[x.n].sent, x.n}
	}
	slowSort(root, date)
	slowMerge(root, letters)
	slowSort(root, date) // (6)
	var tell func(x *twig) string
	tell = func(x *twig) string {
		s := "("
		for {
			if x.n >= 0 {
				s += fmt.Sprint(x.n + 1)
				if len(x.kids) > 0 {
					s += " "
				}
			}
			if len(x.kids) != 1 {
				break
			}
			x = x.kids[0]
		}
		for _, k := range x.kids {
			s += tell(k)
		}
		return s + ")"
	}
	s := ""
	for _, k := range root.kids {
		s += tell(k)
	}
	return s
}

func slowPrune(x *twig, top bool) { // (3)
	var kids []*twig
	for _, k := range x.kids {
		slowPrune(k, false)
		switch {
		case k.n >= 0, top && len(k.kids) > 1:
			kids = append(kids, k)
		default:
			kids = append(kids, k.kids...)
		}
	}
	x.kids = kids
}

func slowSort(x *twig, date func(*twig) [2]int) { // (4), (6)
	for _, k := range x.kids {
		slowSort(k, date)
	}
	slices.SortFunc(x.kids, func(a, b *twig) int {
		p, q := date(a), date(b)
		return slices.Compare(p[:], q[:])
	})
}

func slowMerge(root *twig, letters []letter) { // (5)
	subject := func(x *twig) string {
		if x.n < 0 {
			x = x.kids[0]
		}
		return letters[x.n].subject
	}
	reply := func(x *twig) bool { return x.n >= 0 && letters[x.n].reply }
	table := map[string]*twig{}
	for _, x := range root.kids {
		s := subject(x)
		if t := table[s]; s != "" && (t == nil || t.n >= 0 && (x.n < 0 || reply(t) && !reply(x))) {
			table[s] = x
		}
	}
	for _, x := range slices.Clone(root.kids) {
		s := subject(x)
		t := table[s]
		if s == "" || t == x || !slices.Contains(root.kids, x) {
			continue
		}
		root.remove(x)
		switch {
		case t.n < 0 && x.n < 0:
			t.kids = append(t.kids, x.kids...)
		case t.n < 0, reply(x) && !reply(t):
			t.add(x)
		default:
			root.remove(t)
			d := &twig{n: -1}
			d.add(x)
			d.add(t)
			root.add(d)
			table[s] = d
		}
	}
}

func TestReferencesIsTheProcedure(t *testing.T) {
	id := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f", "g"})
	one := rapid.Custom(func(t *rapid.T) letter {
		return letter{
			id:      id.Draw(t, "id"),
			refs:    rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "x", "y", "z"}), 0, 4).Draw(t, "refs"),
			subject: rapid.SampledFrom([]string{"", "s", "t", "u"}).Draw(t, "subject"),
			reply:   rapid.Bool().Draw(t, "reply"),
			sent:    rapid.IntRange(0, 5).Draw(t, "sent"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SliceOfN(one, 0, 10).Draw(t, "letters")
		if got, want := grown(letters, "REFERENCES").told(), slowThreads(letters); got != want {
			t.Fatalf("%+v: %s, want %s", letters, got, want)
		}
	})
}

// TestDeepThreads: threads that were made to be deep, or to be long to look through, end soon and hold all messages.
func TestDeepThreads(t *testing.T) {
	const n = 30_000
	name := func(i int) string { return fmt.Sprintf("%06d", i) }
	for what, letters := range map[string]func() []letter{
		"in order": func() (l []letter) {
			for i := range n {
				l = append(l, letter{id: name(i + 1), refs: []string{name(i)}, sent: i})
			}
			return l
		},
		"backwards": func() (l []letter) {
			for i := n; i > 0; i-- {
				l = append(l, letter{id: name(i), refs: []string{name(i - 1)}})
			}
			return l
		},
		"chains below a deep chain": func() (l []letter) {
			for i := range n / 2 {
				l = append(l, letter{id: name(i + 1), refs: []string{name(i)}})
			}
			for i := n / 2; i < n; i += 2 {
				l = append(l, letter{id: name(i + 2), refs: []string{name(i + 1)}}, letter{id: name(i + 1), refs: []string{name(n/2 - 1)}})
			}
			return l
		},
		"one parent": func() (l []letter) {
			for i := range n {
				l = append(l, letter{id: name(i + 1), refs: []string{name(0)}, subject: "s"})
			}
			return l
		},
		"one subject": func() (l []letter) {
			for range n {
				l = append(l, letter{subject: "s"})
			}
			return l
		},
		"other dummies each": func() (l []letter) {
			for i := range n / 10 {
				m := letter{id: name(i)}
				for k := range 100 {
					m.refs = append(m.refs, fmt.Sprintf("x%07d", i*100+k))
				}
				l = append(l, m)
			}
			return l
		},
	} {
		list := letters()
		for _, algorithm := range []string{"REFERENCES", "REFS", "ORDEREDSUBJECT"} {
			begin := time.Now()
			f := grown(list, algorithm)
			t.Log(what, algorithm, time.Since(begin))
			seen := make([]bool, len(list))
			count := 0
			stack := slices.Clone(f.roots)
			for len(stack) > 0 {
				x := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				if !f.dummy(x) {
					if seen[x] {
						t.Fatal(what, algorithm, "twice")
					}
					seen[x] = true
					count++
				}
				for c := f.first[x]; c >= 0; c = f.next[c] {
					stack = append(stack, c)
				}
			}
			if count != len(list) {
				t.Errorf("%s, %s: %d of %d messages", what, algorithm, count, len(list))
			}
		}
	}
}
