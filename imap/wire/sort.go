package wire

// SortKey is what messages are sorted by.
type SortKey uint8

// The keys of RFC 5256 and RFC 5957.
const (
	SortArrival SortKey = iota
	SortCc
	SortDate
	SortDisplayFrom
	SortDisplayTo
	SortFrom
	SortSize
	SortSubject
	SortTo
)

var sortKeys = map[string]SortKey{
	"ARRIVAL": SortArrival, "CC": SortCc, "DATE": SortDate, "FROM": SortFrom, "SIZE": SortSize, "SUBJECT": SortSubject, "TO": SortTo,
	"DISPLAYFROM": SortDisplayFrom, "DISPLAYTO": SortDisplayTo,
}

// SortCriterion is a key and its direction.
type SortCriterion struct {
	Key     SortKey
	Reverse bool
}

// SortOptions are the arguments of SORT.
type SortOptions struct {
	SearchOptions
	Criteria []SortCriterion // each key once: where it comes again it decides nothing
}

// Sort reads the arguments of SORT (RFC 5256 section 5, RFC 5267 section 5).
func (d *Decoder) Sort() *SortOptions {
	o := new(SortOptions)
	o.Return = d.Return()
	seen := 0
	if d.Peek('(') {
		d.List(func() { d.sortCriterion(o, &seen) })
	}
	if d.err == nil && len(o.Criteria) == 0 {
		d.Fail("Expected sort criteria")
	}
	d.SP()
	d.program(&o.SearchOptions)
	return o
}

func (d *Decoder) sortCriterion(o *SortOptions, seen *int) {
	var c SortCriterion
	name := d.Label()
	if name == "REVERSE" {
		d.SP()
		c.Reverse, name = true, d.Label()
	}
	var ok bool
	if c.Key, ok = sortKeys[name]; !ok {
		d.Fail("Unknown sort key")
		return
	}
	if *seen&(1<<c.Key) == 0 {
		*seen |= 1 << c.Key
		o.Criteria = append(o.Criteria, c)
	}
}

// program reads the search-criteria of SORT and THREAD (RFC 5256 section 5): a charset, which may not be left out, and keys.
func (d *Decoder) program(o *SearchOptions) {
	o.Charset = d.Charset()
	d.SP()
	o.Key = d.SearchKeys()
}

// ThreadOptions are the arguments of THREAD.
type ThreadOptions struct {
	SearchOptions
	Algorithm string // upper case
}

// Thread reads the arguments of THREAD (RFC 5256 section 5).
func (d *Decoder) Thread() *ThreadOptions {
	o := &ThreadOptions{Algorithm: d.Word()}
	d.SP()
	d.program(&o.SearchOptions)
	return o
}
