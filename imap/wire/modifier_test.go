package wire

import (
	"math"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
)

func TestModSeq(t *testing.T) {
	for s, want := range map[string]uint64{"0": 0, "7": 7, "9223372036854775807": math.MaxInt64} {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		if got := d.ModSeq(); !d.EOL() || got != want {
			t.Errorf("%s is %d, %v", s, got, d.Err())
		}
	}
	for _, s := range []string{"", "-1", "x", "9223372036854775808", "99999999999999999999999"} {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		if got := d.ModSeq(); d.EOL() {
			t.Errorf("%q is %d", s, got)
		}
	}
}

func TestSelectParams(t *testing.T) {
	r := func(n ...uint32) (s imap.SeqSet) {
		for i := 0; i < len(n); i += 2 {
			s = append(s, imap.SeqRange{Start: n[i], Stop: n[i+1]})
		}
		return s
	}
	for s, want := range map[string]*SelectOptions{
		"":                                 {},
		" (CONDSTORE)":                     {CondStore: true},
		" (qresync (1 2))":                 {QResync: &QResync{UIDValidity: 1, ModSeq: 2}},
		" (QRESYNC (1 2 1:5,7))":           {QResync: &QResync{UIDValidity: 1, ModSeq: 2, Known: r(1, 5, 7, 7)}},
		" (QRESYNC (1 2 3 (1:2 4,9)))":     {QResync: &QResync{UIDValidity: 1, ModSeq: 2, Known: r(3, 3), Match: true, Numbers: r(1, 2), UIDs: r(4, 4, 9, 9)}},
		" (CONDSTORE QRESYNC (1 2 (1 5)))": {CondStore: true, QResync: &QResync{UIDValidity: 1, ModSeq: 2, Match: true, Numbers: r(1, 1), UIDs: r(5, 5)}},
		" ()":                              nil, " (X)": nil, " CONDSTORE": nil, " (CONDSTORE": nil, " (QRESYNC)": nil, " (QRESYNC ())": nil, " (QRESYNC (1))": nil,
		" (QRESYNC (1 2 ))": nil, " (QRESYNC (1 2 3 ))": nil, " (QRESYNC (1 2 *))": nil, " (QRESYNC (1 2 1:*))": nil, " (QRESYNC (1 2 $))": nil,
		" (QRESYNC (1 2 3 (1 2) 4))": nil, " (QRESYNC (4294967296 2))": nil, " (QRESYNC (1 2 3 (1:2 4)))": nil, " (QRESYNC (1 2 3 (2:1 4:5)))": nil,
		" (QRESYNC (1 2 3 (1,1 4,5)))": nil, " (QRESYNC (1 2 3 (1 *)))": nil, " (QRESYNC (1 2) QRESYNC (1 2))": nil,
	} {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		got := d.SelectParams()
		ok := d.EOL()
		if ok != (want != nil) {
			t.Errorf("%q: %v", s, d.Err())
		} else if ok && !cmp.Equal(*want, got) {
			t.Errorf("%q: %s", s, cmp.Diff(*want, got))
		}
	}
}

// What a modifier costs does not depend on how many messages it names, and what was understood keeps its promises.
func FuzzModifiers(f *testing.F) {
	for _, s := range []string{" (CHANGEDSINCE 12 VANISHED PARTIAL -1:-30)", " (QRESYNC (1 2 1:5 (1:3 4,6:7)) CONDSTORE)", "(UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		read := func(parse func(d *Decoder)) bool {
			d, _ := open(s + "\r\n")
			if d.Next() != nil {
				return false
			}
			parse(d)
			return d.EOL()
		}
		var fetch FetchOptions
		if read(func(d *Decoder) { d.FetchModifiers(&fetch) }) {
			if fetch.Changed && !fetch.ModSeq {
				t.Error("CHANGEDSINCE without MODSEQ")
			}
			if p := fetch.Partial; p != nil {
				if from, to := p.Cut(10); from < 0 || from > to || to > 10 || int64(to-from) > p.Width() {
					t.Errorf("%v of 10 is %d..%d", p, from, to)
				}
			}
		}
		var o SelectOptions
		if read(func(d *Decoder) { o = d.SelectParams() }) && o.QResync != nil {
			q := o.QResync
			n, ok := ascending(q.Numbers)
			m, ok2 := ascending(q.UIDs)
			if q.UIDValidity == 0 || q.ModSeq == 0 || !ok || !ok2 || n != m || q.Match != (n > 0) {
				t.Errorf("%+v", q)
			}
		}
		var store StoreOptions
		if read(func(d *Decoder) { store = d.Store() }) && !store.Conditional && store.UnchangedSince != 0 {
			t.Errorf("%+v", store)
		}
	})
}
