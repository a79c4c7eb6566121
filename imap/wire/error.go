package wire

// Error is a command that cannot be understood or is refused by the grammar. Its text is meant for the client.
type Error struct {
	No    bool   // to be answered NO instead of BAD
	Code  string // response code without brackets, "" for none
	Text  string
	Close bool // the input cannot be followed any more: BYE
}

func (e *Error) Error() string { return e.Text }

func bad(text string) *Error { return &Error{Text: text} }
