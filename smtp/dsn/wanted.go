package dsn

import "strings"

// Action is what became of a recipient (RFC 3464 section 2.3.3).
type Action string

// The actions.
const (
	Failed    Action = "failed"
	Delayed   Action = "delayed"
	Delivered Action = "delivered"
	Relayed   Action = "relayed"  // to a server that knows no DSN, and so tells nothing of its own
	Expanded  Action = "expanded" // to several addresses, of which nothing is told
)

// rules say which word of NOTIFY asks for a notice of an action, and whether one is due when NOTIFY was not said (RFC 3461 section 4.1: FAILURE, and a server may tell of delays).
var rules = map[Action]struct {
	word   string
	silent bool
}{
	Failed:    {"FAILURE", true},
	Delayed:   {"DELAY", true},
	Delivered: {"SUCCESS", false},
	Relayed:   {"SUCCESS", false},
	Expanded:  {"SUCCESS", false},
}

// Wanted tells whether the sender of a message is to be told what became of a recipient whose NOTIFY that was. The null sender is told nothing
// (RFC 5321 section 4.5.5): no bounce of a bounce.
func Wanted(from, notify string, a Action) bool {
	r, known := rules[a]
	if from == "" || !known {
		return false
	}
	if notify == "" {
		return r.silent
	}
	for word := range strings.SplitSeq(notify, ",") {
		if strings.EqualFold(word, r.word) {
			return true
		}
	}
	return false // NEVER too
}

// WithoutSuccess is a NOTIFY for the members of a list: RFC 3461 section 5.2.7.2: that it reached the list was told, what becomes of it in each of them is not.
func WithoutSuccess(notify string) string {
	if notify == "" || notify == "NEVER" {
		return notify
	}
	var left []string
	for w := range strings.SplitSeq(notify, ",") {
		if !strings.EqualFold(w, "SUCCESS") {
			left = append(left, w)
		}
	}
	if len(left) == 0 {
		return "NEVER"
	}
	return strings.Join(left, ",")
}
