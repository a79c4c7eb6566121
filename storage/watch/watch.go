// Package watch carries change notices from whoever commits to whoever waits,
// inside one process. Levels, not edges: a notice is a hint to look at the truth
// again; a listener that falls behind is marked stale and re-reads, and nobody
// ever waits for it.
package watch

// Kind of a change.
type Kind uint8

// The kinds.
const (
	Appended       Kind = iota + 1 // messages came (delivery, APPEND, COPY, MOVE): UIDs
	Flagged                        // flags or keywords changed: UIDs
	Expunged                       // messages went: UIDs
	NodePut                        // a file or folder was made or replaced: Node
	NodeGone                       // a file or folder was removed: Node
	NodeMoved                      // renamed or moved
	Mailboxes                      // the set of mailboxes, their names or subscriptions changed
	AccountChanged                 // quota, aliases, credentials, enabled
)

// Change is one committed fact.
type Change struct {
	Account int64
	Mailbox int64 // 0 when not of a mailbox
	Node    int64 // file or folder; 0 when not of one
	Kind    Kind
	ModSeq  uint64
	UIDs    []uint32 // at most 64 are named, ascending; More tells that there are more
	More    bool
}

// Topic is what a listener wants to hear of. Account 0 means all accounts; Mailbox 0 all of the account.
type Topic struct {
	Account int64
	Mailbox int64
}

// Hub fans changes out. The zero value is usable.
type Hub struct{}

// Publish tells all who subscribed to it. It is called once a commit, by package
// storage, after its snapshots are up to date. It never blocks.
func (h *Hub) Publish(changes []Change) { panic("stub") }

// Subscribe calls wake after each Publish that holds a change of t. wake runs in the
// publisher's goroutine and must neither block nor call the Hub. A Subscription
// with keep > 0 also keeps the last keep changes for Take; with 0 it costs nothing but its entry.
func (h *Hub) Subscribe(t Topic, keep int, wake func()) *Subscription { panic("stub") }

// Subscription of one listener.
type Subscription struct{}

// Take returns and forgets what was kept; stale when some was dropped because there was more than keep: re-read.
func (s *Subscription) Take() (changes []Change, stale bool) { panic("stub") }

// Close ends it. A wake that runs meanwhile may still return after Close.
func (s *Subscription) Close() { panic("stub") }
