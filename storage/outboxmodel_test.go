package storage

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// modelRecipient is a recipient as the queue should have it.
type modelRecipient struct {
	id, message     int64
	address, domain string
	priority        int
	account         int64
	due, lease      int64
	state, owner    string
	attempts        int
	doomed          bool
}

// queueModel is the queue told in the simplest way.
type queueModel struct {
	s    *Store
	dir  string
	now  time.Time
	all  []*modelRecipient // by id
	next int

	accounts []int64 // who may send; 0 among them
}

func (m *queueModel) options() Options {
	return Options{Now: func() time.Time { return m.now }, GarbageAge: -time.Hour}
}

func (m *queueModel) open(t *rapid.T) {
	s, err := Open(context.Background(), m.dir, m.options())
	if err != nil {
		t.Fatal(err)
	}
	m.s = s
}

// expire is what Lease does first.
func (m *queueModel) expire() {
	for _, r := range m.all {
		if r.state == QueueLeased && r.lease <= m.now.Unix() {
			r.state, r.owner = QueueWaiting, ""
		}
	}
}

// want is what Lease must give.
func (m *queueModel) want(max, perDomain int, busy string, spent int64) (all []*modelRecipient) {
	keys := map[dueKey][]*modelRecipient{}
	for _, r := range m.all {
		if r.state == QueueWaiting && r.due <= m.now.Unix() && r.domain != busy && r.account != spent {
			k := dueKey{r.account, r.domain, r.priority}
			keys[k] = append(keys[k], r)
		}
	}
	var order []dueKey
	for k, list := range keys {
		slices.SortFunc(list, func(a, b *modelRecipient) int { return cmp.Or(cmp.Compare(a.due, b.due), cmp.Compare(a.id, b.id)) })
		order = append(order, k)
	}
	slices.SortFunc(order, func(a, b dueKey) int {
		return cmp.Or(cmp.Compare(keys[a][0].due, keys[b][0].due), cmp.Compare(a.domain, b.domain), cmp.Compare(a.account, b.account))
	})
	turn, next := map[dueKey]int{}, map[dueKey]int{} // next: by account and priority
	for _, k := range order {
		who := dueKey{account: k.account, priority: k.priority}
		turn[k] = next[who]
		next[who]++
	}
	slices.SortStableFunc(order, func(a, b dueKey) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(turn[a], turn[b]))
	})
	order = order[:min(len(order), max)]
	for _, k := range order {
		share := 0
		for _, o := range order {
			if o.domain == k.domain && o.priority == k.priority {
				share++
			}
		}
		n := perDomain / share
		if n == 0 {
			n = 1
		}
		all = append(all, keys[k][:min(len(keys[k]), n, max-len(all))]...)
	}
	return all
}

func (m *queueModel) enqueue(t *rapid.T) {
	o := Outgoing{Priority: rapid.SampledFrom([]int{0, 0, 0, 5, -3}).Draw(t, "priority"), Account: rapid.SampledFrom(m.accounts).Draw(t, "account")}
	var fresh []*modelRecipient
	for range rapid.IntRange(1, 4).Draw(t, "recipients") {
		m.next++
		d := rapid.SampledFrom([]string{"a.test", "b.test", "c.test"}).Draw(t, "domain")
		r := &modelRecipient{address: fmt.Sprintf("r%d@%s", m.next, d), domain: d, priority: o.Priority, account: o.Account, state: QueueWaiting, due: m.now.Unix()}
		in := OutgoingRecipient{Address: r.address}
		if later := rapid.IntRange(0, 3).Draw(t, "later"); later > 1 {
			in.Due = m.now.Add(time.Duration(later) * time.Minute)
			r.due = in.Due.Unix()
		}
		o.Recipients, fresh = append(o.Recipients, in), append(fresh, r)
	}
	enqueue(t, m.s, o)
	var last int64
	if n := len(m.all); n > 0 {
		last = m.all[n-1].id
	}
	items, err := m.s.Queue(context.Background(), QueueFilter{After: last}, 100)
	if err != nil || len(items) != len(fresh) {
		t.Fatalf("%d new, %v", len(items), err)
	}
	for i, r := range fresh {
		r.id, r.message = items[i].ID, items[i].Outbox
	}
	m.all = append(m.all, fresh...)
}

func (m *queueModel) lease(t *rapid.T) {
	r := LeaseRequest{Owner: rapid.SampledFrom([]string{"v", "w"}).Draw(t, "owner"), For: time.Duration(rapid.IntRange(1, 10).Draw(t, "for")) * time.Minute,
		Max: rapid.IntRange(1, 6).Draw(t, "max"), PerDomain: rapid.IntRange(1, 6).Draw(t, "per domain")}
	busy := rapid.SampledFrom([]string{"", "a.test"}).Draw(t, "busy")
	r.Busy = func(d string) bool { return d == busy }
	spent := rapid.SampledFrom([]int64{-1, -1, 0, m.accounts[1]}).Draw(t, "spent")
	r.Spent = func(a int64) bool { return a == spent }
	m.expire()
	want := m.want(r.Max, r.PerDomain, busy, spent)
	var wanted []int64
	for _, x := range want {
		wanted = append(wanted, x.id)
		x.state, x.owner, x.lease = QueueLeased, r.Owner, m.now.Add(r.For).Unix()
	}
	var got []int64
	for _, l := range lease(t, m.s, r) {
		got = append(got, l.ID)
		if x := m.find(l.ID); x != nil && (x.attempts != l.Attempts || x.doomed != (l.Verdict != "")) {
			t.Fatalf("%+v, want %+v", l, x)
		}
	}
	slices.Sort(got)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		t.Fatalf("leased %d, want %d", got, wanted)
	}
}

func (m *queueModel) find(id int64) *modelRecipient {
	i, ok := slices.BinarySearchFunc(m.all, id, func(r *modelRecipient, id int64) int { return cmp.Compare(r.id, id) })
	if !ok {
		return nil
	}
	return m.all[i]
}

// any is one of the recipients, mostly a leased one; nil when there is none.
func (m *queueModel) any(t *rapid.T) *modelRecipient {
	leased := slices.DeleteFunc(slices.Clone(m.all), func(r *modelRecipient) bool { return r.state != QueueLeased })
	from := m.all
	if len(leased) > 0 && rapid.IntRange(0, 4).Draw(t, "leased") > 0 {
		from = leased
	}
	if len(from) == 0 {
		return nil
	}
	return rapid.SampledFrom(from).Draw(t, "recipient")
}

func (m *queueModel) remove(gone *modelRecipient) {
	m.all = slices.DeleteFunc(m.all, func(r *modelRecipient) bool { return r == gone })
}

func (m *queueModel) settle(t *rapid.T) {
	r := m.any(t)
	if r == nil {
		return
	}
	o := Outcome{Recipient: r.id, Owner: rapid.SampledFrom([]string{"", "v", "w"}).Draw(t, "owner"), State: rapid.SampledFrom([]OutcomeState{Delivered, Relayed, Failed, Deferred, Deferred}).Draw(t, "outcome"),
		NoAttempt: rapid.Bool().Draw(t, "no attempt"), Due: m.now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "due")) * time.Minute)}
	settle(t, m.s, o, Outcome{Recipient: 1 << 40, State: Failed})
	switch {
	case o.State != Deferred:
		m.remove(r)
		return
	case r.state == QueueLeased && o.Owner != "" && o.Owner != r.owner:
		return
	case r.state != QueueHeld:
		r.state = QueueWaiting
	}
	r.owner, r.due = "", o.Due.Unix()
	if r.doomed {
		r.due = m.now.Unix()
	}
	if !o.NoAttempt {
		r.attempts++
	}
}

// act is what an administrator does, to a domain or to a message.
func (m *queueModel) act(t *rapid.T) {
	f := QueueFilter{Domain: rapid.SampledFrom([]string{"", "a.test", "b.test"}).Draw(t, "domain")}
	if r := m.any(t); f.Domain == "" && r != nil {
		f.ID = fmt.Sprint(r.id)
	}
	act := rapid.SampledFrom([]string{"hold", "release", "retry", "fail", "drop"}).Draw(t, "act")
	ctx, n, err := context.Background(), 0, error(nil)
	do := map[string]func() (int, error){
		"hold": func() (int, error) { return m.s.Hold(ctx, f) }, "release": func() (int, error) { return m.s.Release(ctx, f) }, "retry": func() (int, error) { return m.s.RetryNow(ctx, f) },
		"fail": func() (int, error) { return m.s.Fail(ctx, f, "") }, "drop": func() (int, error) { return m.s.Drop(ctx, f) },
	}
	if n, err = do[act](); err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, r := range slices.Clone(m.all) {
		if f.Domain != "" && r.domain != f.Domain || f.ID != "" && f.ID != fmt.Sprint(r.id) {
			continue
		}
		want++
		switch {
		case act == "hold" && r.state != QueueHeld:
			r.state, r.owner = QueueHeld, ""
		case act == "release" && r.state == QueueHeld:
			r.state = QueueWaiting
		case act == "retry" && r.state == QueueWaiting:
			r.due = min(r.due, m.now.Unix())
		case act == "fail":
			if r.doomed = true; r.state != QueueLeased {
				r.state, r.due = QueueWaiting, min(r.due, m.now.Unix())
			}
		case act == "drop":
			m.remove(r)
		default:
			want--
		}
	}
	if n != want {
		t.Fatalf("%s %+v: %d, want %d", act, f, n, want)
	}
}

func (m *queueModel) release(t *rapid.T) {
	owner := rapid.SampledFrom([]string{"", "v", "w"}).Draw(t, "owner")
	if err := m.s.ReleaseLeases(context.Background(), owner); err != nil {
		t.Fatal(err)
	}
	for _, r := range m.all {
		if r.state == QueueLeased && (owner == "" || owner == r.owner) {
			r.state, r.owner = QueueWaiting, ""
		}
	}
}

// check compares all that can be seen.
func (m *queueModel) check(t *rapid.T) {
	items, err := m.s.Queue(context.Background(), QueueFilter{}, 10_000)
	if err != nil || len(items) != len(m.all) {
		t.Fatalf("%d recipients, want %d, %v", len(items), len(m.all), err)
	}
	messages := map[int64]bool{}
	first := int64(0)
	for i, r := range m.all {
		x := items[i]
		messages[r.message] = true
		if x.ID != r.id || x.Address != r.address || x.State != r.state || x.Owner != r.owner || x.Due.Unix() != r.due || x.Attempts != r.attempts || (x.Verdict != "") != r.doomed {
			t.Fatalf("%+v\nwant %+v", x, r)
		}
		if r.state == QueueWaiting && (first == 0 || r.due < first) {
			first = r.due
		}
	}
	if at, ok := m.s.NextDue(nil, nil); ok != (first != 0) || ok && at.Unix() != first {
		t.Fatalf("next due %v %v, want %d", at, ok, first)
	}
	var blobs int
	if err := m.s.db.Row(`SELECT COUNT(*) FROM blob WHERE id NOT IN (SELECT blob FROM garbage)`).Scan(&blobs); err != nil || blobs != len(messages) || m.s.QueueSize() != len(messages) {
		t.Fatalf("%d blobs, %d messages, want %d, %v", blobs, m.s.QueueSize(), len(messages), err)
	}
}

// TestQueueModel: the queue against a naive one, over random histories and restarts; when it is empty nothing is left.
func TestQueueModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "queue")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		m := &queueModel{dir: dir, now: time.Unix(1e9, 0)}
		m.open(t)
		defer func() { m.s.Close() }()
		if err := m.s.AddDomain(context.Background(), "example.test"); err != nil {
			t.Fatal(err)
		}
		m.accounts = []int64{0}
		for _, name := range []string{"ann@example.test", "bob@example.test"} {
			a, err := m.s.CreateAccount(context.Background(), NewAccount{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			m.accounts = append(m.accounts, a.ID)
		}
		t.Repeat(map[string]func(*rapid.T){
			"enqueue": m.enqueue,
			"lease":   m.lease,
			"again":   m.lease,
			"settle":  m.settle,
			"settled": m.settle,
			"act":     m.act,
			"release": m.release,
			"later": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(10, 400).Draw(t, "seconds")) * time.Second)
			},
			"restart": func(t *rapid.T) {
				if err := m.s.Close(); err != nil {
					t.Fatal(err)
				}
				m.open(t)
			},
			"": m.check,
		})
		if _, err := m.s.Drop(context.Background(), QueueFilter{}); err != nil {
			t.Fatal(err)
		}
		emptyQueue(t, m.s)
		if err := m.s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := m.s.db.Row(`SELECT (SELECT COUNT(*) FROM blob) + (SELECT COUNT(*) FROM blob_shared) + (SELECT COUNT(*) FROM mail)`).Scan(&n); err != nil || n != 0 {
			t.Fatal(n, err)
		}
	})
}
