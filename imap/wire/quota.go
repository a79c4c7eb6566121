package wire

// maxResources is how many limits one SETQUOTA may give.
const maxResources = 16

// Limit is a resource with its limit.
type Limit struct {
	Name string // in upper case
	Max  int64
}

// SetQuota reads what follows the root in SETQUOTA (RFC 9208 section 7, setquota-list).
func (d *Decoder) SetQuota() []Limit {
	var l []Limit
	d.List(func() {
		if len(l) == maxResources {
			d.fail(&Error{Code: "LIMIT", Text: "Too many resources"})
			return
		}
		name := d.Word()
		d.SP()
		l = append(l, Limit{name, d.Number64()})
	})
	return l
}
