package wire

import (
	"testing"
)

func TestNotify(t *testing.T) {
	const both = MessageNew | MessageExpunge
	for s, want := range map[string][]EventGroup{
		"NONE":                nil,
		"set (selected none)": {{Filter: MailboxFilter{Kind: "SELECTED"}}},
		"SET STATUS (inboxes (MessageNew MessageExpunge))": {{Filter: MailboxFilter{Kind: "INBOXES"}, Events: both}},
		"SET (subtree (a \"b c\") (MessageExpunge FlagChange MessageNew SubscriptionChange)) (mailboxes x (MailboxName))": {
			{Filter: MailboxFilter{Kind: "SUBTREE", Names: []string{"a", "b c"}}, Events: both | FlagChange | SubscriptionChange},
			{Filter: MailboxFilter{Kind: "MAILBOXES", Names: []string{"x"}}, Events: MailboxName}},
	} {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		o := d.Notify()
		if !d.EOL() || len(o.Groups) != len(want) {
			t.Errorf("%s: %v %+v", s, d.Err(), o)
			continue
		}
		for i, g := range o.Groups {
			if w := want[i]; g.Events != w.Events || g.Filter.Kind != w.Filter.Kind || len(g.Filter.Names) != len(w.Filter.Names) || g.Fetch != nil {
				t.Errorf("%s: %+v", s, g)
			}
		}
	}
	for _, s := range []string{
		"", "SET", "SET STATUS", "SET ()", "SET (selected)", "SET (selected ())", "SET (selected (MessageNew MessageExpunge)", "SET (selected SOME)", "SET  (selected NONE)",
		"SET (selected (MessageNew (FLAGS) ))", "SET (selected (MessageNew () MessageExpunge))", "SET (subtree-one a (MailboxName))", "SET (subtree NONE)", "SET (selected NONE)(personal NONE)",
		"NONE NONE", "STATUS (selected NONE)", "SET (selected (MessageExpunge (FLAGS) MessageNew))", "SET (selected (FlagChange))",
	} {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		if d.Notify(); d.EOL() {
			t.Errorf("%q is taken", s)
		}
	}
}

func FuzzNotify(f *testing.F) {
	for _, s := range []string{
		"SET STATUS (selected (MessageNew (uid body.peek[header.fields (from to subject)]) MessageExpunge)) (subtree Lists (MessageNew MessageExpunge))",
		"SET (mailboxes (a {1+}\r\nb) NONE) (personal (SubscriptionChange X))", "NONE",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := open(s + "\r\n")
		d.LiteralMax, d.LiteralSum = 1<<10, 1<<12
		_ = d.Next()
		o := d.Notify()
		if !d.EOL() {
			return
		}
		for _, g := range o.Groups {
			both := g.Events & (MessageNew | MessageExpunge)
			if g.Filter.Kind == "" || both != 0 && both != MessageNew|MessageExpunge || g.Selected() && g.Events&^MessageEvents != 0 || !g.Selected() && g.Fetch != nil {
				t.Errorf("%+v", g)
			}
		}
	})
}
