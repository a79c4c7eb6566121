//go:build e2e

package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// marionette drives a Mozilla program over its Marionette socket: JSON in both directions, each message with its length in decimal
// and a colon before it. A request is [0, id, name, parameters], its answer [1, id, error, result].
type marionette struct {
	conn net.Conn
	r    *bufio.Reader
	id   int
}

// dialMarionette waits until the program listens, opens a session and goes to the program's own windows (chrome), away from web content.
func dialMarionette(port int, patience time.Duration, exited <-chan struct{}) (*marionette, error) {
	var conn net.Conn
	var err error
	for end := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
		if conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			break
		}
		select {
		case <-exited:
			return nil, errors.New("the program ended")
		default:
		}
		if time.Now().After(end) {
			return nil, err
		}
	}
	m := &marionette{conn: conn, r: bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := m.receive(); err != nil { // the greeting
		return nil, err
	}
	// A dialog is left open: what runs into one fails and says what it said.
	caps := map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{"unhandledPromptBehavior": "ignore"}}}
	if _, err := m.call("WebDriver:NewSession", caps, patience); err != nil {
		return nil, err
	}
	_, err = m.call("Marionette:SetContext", map[string]any{"value": "chrome"}, patience)
	return m, err
}

func (m *marionette) receive() ([]byte, error) {
	head, err := m.r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil {
		return nil, err
	}
	b := make([]byte, n)
	_, err = io.ReadFull(m.r, b)
	return b, err
}

// call sends a request and waits for its answer.
func (m *marionette) call(name string, params any, patience time.Duration) (json.RawMessage, error) {
	m.id++
	b, err := json.Marshal([]any{0, m.id, name, params})
	if err != nil {
		return nil, err
	}
	m.conn.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(m.conn, "%d:%s", len(b), b); err != nil {
		return nil, err
	}
	for {
		text, err := m.receive()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		var answer [4]json.RawMessage
		if err := json.Unmarshal(text, &answer); err != nil {
			return nil, err
		}
		if string(answer[1]) != strconv.Itoa(m.id) {
			continue // of a script that a dialog had cut off
		}
		if string(answer[2]) != "null" {
			return nil, fmt.Errorf("%s: %s", name, answer[2])
		}
		return answer[3], nil
	}
}

// run runs the body of an async function, to which args are A[0], A[1] and so on, and puts what it returns into result.
func (m *marionette) run(result any, patience time.Duration, body string, args ...any) error {
	if args == nil {
		args = []any{}
	}
	if _, err := m.call("WebDriver:SetTimeouts", map[string]any{"script": patience.Milliseconds()}, patience); err != nil {
		return err
	}
	script := `const A = [...arguments], answer = A.pop();
(async () => {` + body + `
})().then(v => answer({value: v === undefined ? null : v}), e => answer({error: e + "\n" + (e && e.stack)}));`
	raw, err := m.call("WebDriver:ExecuteAsyncScript", map[string]any{"script": script, "args": args, "sandbox": "system", "newSandbox": false}, patience+10*time.Second)
	if err != nil {
		return err
	}
	var outer struct {
		Value *struct {
			Value json.RawMessage
			Error string
		}
	}
	switch err := json.Unmarshal(raw, &outer); {
	case err != nil:
		return err
	case outer.Value == nil:
		text, _ := m.call("WebDriver:GetAlertText", map[string]any{}, patience)
		return &dialogError{text: string(text)}
	case outer.Value.Error != "":
		return errors.New(outer.Value.Error)
	case result == nil:
		return nil
	}
	return json.Unmarshal(outer.Value.Value, result)
}

// dialogError: a modal dialog came up while a script ran, and its result is lost.
type dialogError struct{ text string }

func (e *dialogError) Error() string { return "a dialog says " + e.text }

// accept presses the button of a dialog that agrees.
func (m *marionette) accept() error {
	_, err := m.call("WebDriver:AcceptAlert", map[string]any{}, 10*time.Second)
	return err
}

// screenshot writes what the main window shows as PNG.
func (m *marionette) screenshot(file string) error {
	raw, err := m.call("WebDriver:TakeScreenshot", map[string]any{"full": false}, 20*time.Second)
	if err != nil {
		return err
	}
	var shot struct{ Value string }
	if err := json.Unmarshal(raw, &shot); err != nil {
		return err
	}
	png, err := base64.StdEncoding.DecodeString(shot.Value)
	if err != nil {
		return err
	}
	return os.WriteFile(file, png, 0o644)
}
