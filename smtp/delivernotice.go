package smtp

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/packetboat/packetboat/smtp/dsn"
	"github.com/packetboat/packetboat/storage"
)

// refusedBy is what a filter's reject becomes when others get the message.
const refusedBy dsn.Action = dsn.Failed

// notice is what the sender may be told of a recipient when the message was delivered (RFC 3461 section 5.2).
type notice struct {
	r      *recipient
	action dsn.Action
	status string // RFC 3463
	why    string
}

// whyMax bounds the words of a notice about one recipient.
const whyMax = 500

// notify notes an action of a recipient, once; why it failed may have several reasons, and the first one's status.
func (d *delivery) notify(r *recipient, action dsn.Action, status, why string) {
	for i := range d.notices {
		n := &d.notices[i]
		if n.r != r || n.action != action {
			continue
		}
		if action == dsn.Failed && len(n.why)+len(why) < whyMax && !strings.Contains(n.why, why) {
			n.why += "; " + why
		}
		return
	}
	d.notices = append(d.notices, notice{r, action, status, why})
}

// succeed notes what became of the recipients whose mail reached its end here, for those that asked: a group of several was expanded (RFC 3461 section 5.2.7.2), what is forwarded to
// one address is told of by who delivers it.
func (l *letter) succeed(d *delivery) {
	for i := range l.recipients {
		r := &l.recipients[i]
		switch {
		case r.relay || r.notify == "" || !l.sender.hold.IsZero() || l.circles(r):
		case r.route.Group:
			d.notify(r, dsn.Expanded, "2.0.0", "the message was sent to the members of a group")
		case len(r.route.Boxes) > 0:
			d.notify(r, dsn.Delivered, "2.1.5", "")
		}
	}
}

// tell makes the notices a part of the delivery, one message for all of them. What cannot be written now because of the machine is a reason to refuse the message for now: it
// is not delivered without them. A sender who is not there is told nothing.
func (l *letter) tell(ctx context.Context, d *delivery, id string, u *storage.Upload) *reply {
	if len(d.notices) > 0 && l.disowned() {
		l.log.Info("nobody is told: the sender is somebody else", "queue", id)
		return nil
	}
	var all []dsn.Recipient
	spare := true // nobody lost anything
	for _, n := range d.notices {
		if !dsn.Wanted(l.sender.path, n.r.notify, n.action) {
			continue
		}
		status := n.status
		if n.action == dsn.Delivered {
			for _, o := range d.notices {
				if o.r == n.r && o.action == dsn.Failed {
					status = ""
				}
			}
		}
		if status != "" {
			spare = spare && n.action != dsn.Failed
			all = append(all, dsn.Recipient{Address: n.r.path, Original: n.r.original, Action: n.action, Status: status, Why: n.why})
		}
	}
	if len(all) == 0 {
		return nil
	}
	head := make([]byte, min(u.Index().Root.BodyOffset, 64<<10))
	n, _ := u.ReadAt(head, 0)
	var text bytes.Buffer
	_, err := dsn.Compose(&text, &dsn.Message{Reporter: l.srv.o.Name, To: l.sender.path, Now: l.srv.o.Now(), Queue: id, EnvelopeID: l.sender.envid, Return: "HDRS",
		UTF8: l.sender.utf8, Arrival: l.arrived, Original: bytes.NewReader(head[:n]), Size: int64(n), Recipients: all})
	if err == nil {
		err = l.post(ctx, d, storage.Notice{Spare: spare}, 0, text.Bytes())
	}
	if errors.Is(err, storage.ErrTemporary) {
		return l.failure(ctx, "notice", err)
	}
	if err != nil {
		l.log.Warn("a notice was not sent", "queue", id, "error", err)
	}
	return nil
}
