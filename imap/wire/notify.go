package wire

// Events are what a client of NOTIFY wants to hear of (RFC 5465 section 5).
type Events uint8

// The events. MessageNew and MessageExpunge come together always.
const (
	MessageNew Events = 1 << iota
	MessageExpunge
	FlagChange
	MailboxName
	SubscriptionChange
	MailboxMetadataChange
	ServerMetadataChange
	AnnotationChange

	MessageEvents = MessageNew | MessageExpunge | FlagChange | AnnotationChange
)

var eventNames = map[string]Events{
	"MESSAGENEW": MessageNew, "MESSAGEEXPUNGE": MessageExpunge, "FLAGCHANGE": FlagChange, "ANNOTATIONCHANGE": AnnotationChange,
	"MAILBOXNAME": MailboxName, "SUBSCRIPTIONCHANGE": SubscriptionChange, "MAILBOXMETADATACHANGE": MailboxMetadataChange, "SERVERMETADATACHANGE": ServerMetadataChange,
}

// EventGroup is what events of which mailboxes a client wants to hear of. Events 0 means none, whatever other groups say.
type EventGroup struct {
	Filter MailboxFilter
	Events Events
	Fetch  *FetchOptions // what to tell of a new message; nil: nothing
}

// Selected tells whether the group is about the mailbox that is open.
func (g *EventGroup) Selected() bool {
	return g.Filter.Kind == "SELECTED" || g.Filter.Kind == "SELECTED-DELAYED"
}

// NotifyOptions are the arguments of NOTIFY (RFC 5465 section 8).
type NotifyOptions struct {
	Status  bool         // STATUS of the mailboxes that are not open is wanted at once
	Groups  []EventGroup // of SET; none: NONE
	Unknown bool         // an event is none of the above
}

// maxGroups is how many groups a NOTIFY may have.
const maxGroups = 100

// Notify reads the arguments of NOTIFY.
func (d *Decoder) Notify() *NotifyOptions {
	o := new(NotifyOptions)
	switch d.Word() {
	case "NONE":
		return o
	case "SET":
	default:
		d.Fail("Expected SET or NONE")
		return o
	}
	d.SP()
	if !d.Peek('(') {
		if d.Label() != "STATUS" {
			d.Fail("Expected STATUS or a group of events")
		}
		o.Status = true
		d.SP()
	}
	names, selected := 0, false
	for {
		g := d.eventGroup(o)
		if names += 1 + len(g.Filter.Names); names > maxFilterNames || len(o.Groups) == maxGroups {
			d.fail(&Error{No: true, Code: "NOTIFICATIONOVERFLOW", Text: "Too many mailboxes"})
		}
		if g.Selected() && selected {
			d.Fail("SELECTED may come once") // RFC 5465 section 6.1
		}
		selected = selected || g.Selected()
		o.Groups = append(o.Groups, g)
		if d.AtEnd() || !d.SP() {
			return o
		}
	}
}

func (d *Decoder) eventGroup(o *NotifyOptions) (g EventGroup) {
	if !d.Expect('(') {
		return g
	}
	g.Filter = d.MailboxFilter()
	if g.Filter.Kind == "SUBTREE-ONE" {
		d.Fail("SUBTREE-ONE is for ESEARCH") // RFC 7377 section 2.2
	}
	d.SP()
	unknown := false
	if d.Peek('(') {
		n := 0
		d.List(func() {
			if n++; n > 32 {
				d.fail(&Error{Code: "LIMIT", Text: "Too many events"})
				return
			}
			unknown = !d.event(&g) || unknown
		})
		if d.err == nil && n == 0 {
			d.Fail("Expected an event")
		}
	} else if d.Word() != "NONE" {
		d.Fail("Expected events or NONE")
	}
	d.Expect(')')
	o.Unknown = o.Unknown || unknown
	d.checkGroup(&g, unknown)
	return g
}

// event reads one; false when nobody knows it.
func (d *Decoder) event(g *EventGroup) bool {
	e, ok := eventNames[d.Word()]
	g.Events |= e
	if e == MessageNew && d.Accept(' ') {
		if !d.Peek('(') {
			d.pos-- // the next event
			return ok
		}
		g.Fetch = d.Fetch()
	}
	return ok || d.err != nil
}

// checkGroup applies what RFC 5465 sections 5 and 6.1 rule of events together.
func (d *Decoder) checkGroup(g *EventGroup, unknown bool) {
	both := g.Events & (MessageNew | MessageExpunge)
	switch {
	case d.err != nil:
	case g.Selected() && g.Events&^MessageEvents != 0:
		d.Fail("SELECTED is for events of messages")
	case !g.Selected() && g.Fetch != nil:
		d.Fail("What is to be fetched is for SELECTED alone")
	case both != 0 && both != MessageNew|MessageExpunge, both == 0 && g.Events&MessageEvents != 0 && !unknown:
		d.Fail("MessageNew and MessageExpunge come together, and with FlagChange")
	}
}
