package outbound

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"
)

// scramClient makes a sasl.Client of the SCRAM conversation (RFC 5802, RFC 7677).
type scramClient struct {
	name string
	conv *scram.ClientConversation
}

func newSCRAM(name string, hash scram.HashGeneratorFcn, user, password string) (sasl.Client, error) {
	c, err := hash.NewClient(user, password, "")
	if err != nil {
		return nil, err
	}
	return &scramClient{name, c.NewConversation()}, nil
}

func (s *scramClient) Start() (string, []byte, error) {
	first, err := s.conv.Step("")
	return s.name, []byte(first), err
}

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	answer, err := s.conv.Step(string(challenge))
	return []byte(answer), err
}

// mechanism takes the best one that the server offers. PLAIN and LOGIN show the password, so they are for encrypted connections alone.
func (c *client) mechanism(user, password string) (sasl.Client, error) {
	offers := func(m string) bool { return slices.Contains(c.ext.mechanisms, m) }
	switch {
	case offers("SCRAM-SHA-256"):
		return newSCRAM("SCRAM-SHA-256", scram.SHA256, user, password)
	case offers("SCRAM-SHA-1"):
		return newSCRAM("SCRAM-SHA-1", scram.SHA1, user, password)
	case !c.secure:
		return nil, errors.New("no mechanism that hides the password, and no TLS")
	case offers("PLAIN"):
		return sasl.NewPlainClient("", user, password), nil
	case offers("LOGIN"):
		return sasl.NewLoginClient(user, password), nil
	}
	return nil, fmt.Errorf("none of its mechanisms is known here (%s)", strings.Join(c.ext.mechanisms, " "))
}

// maxSteps bounds an AUTH.
const maxSteps = 8

// login says AUTH (RFC 4954). What goes wrong is a reason to wait: the administrator may mend it.
func (c *client) login(user, password string) error {
	wrong := func(format string, args ...any) error {
		return &failure{status: "4.7.8", text: "AUTH: " + fmt.Sprintf(format, args...), remote: c.remote, stage: atAuth}
	}
	m, err := c.mechanism(user, password)
	if err != nil {
		return wrong("%v", err)
	}
	name, first, err := m.Start()
	if err != nil {
		return wrong("%v", err)
	}
	line := []string{"AUTH ", name}
	if first != nil {
		line = append(line, " ", initial(first))
	}
	r, err := c.command(atAuth, c.t.Command, line...)
	for range maxSteps {
		if err != nil {
			return err
		}
		switch {
		case r.ok():
			if s, is := m.(*scramClient); is && !s.conv.Valid() {
				// RFC 5802 section 3: who does not prove that it knows the password is not the server it claims to be.
				if err := s.last(r); err != nil {
					c.broken = true
					return wrong("%v", err)
				}
			}
			return nil
		case r.Code != 334:
			f := c.refused(atAuth, r)
			f.permanent = false
			return f
		}
		challenge, bad := base64.StdEncoding.DecodeString(strings.Join(r.Lines, ""))
		answer := "*" // RFC 4954 section 4: gives up
		if bad == nil {
			var a []byte
			if a, bad = m.Next(challenge); bad == nil {
				answer = base64.StdEncoding.EncodeToString(a)
			}
		}
		if r, err = c.command(atAuth, c.t.Command, answer); bad != nil {
			return wrong("%v", bad)
		}
	}
	c.broken = true
	return wrong("it does not end")
}

// last takes the server's proof from the text of its 235, where some put it.
func (s *scramClient) last(r Reply) error {
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.Join(r.Lines, "")))
	if err == nil {
		_, err = s.conv.Step(string(b))
	}
	if err != nil || !s.conv.Valid() {
		return errors.New("the server did not prove that it knows the password")
	}
	return nil
}

// initial is an initial response (RFC 4954 section 4): "=" for an empty one.
func initial(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}
