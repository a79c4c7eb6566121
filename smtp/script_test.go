package smtp_test

import (
	"encoding/base64"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
)

// Each file of testdata is a dialogue in a house of its own. PLAIN(ann) stands for ann's initial response, B64(text) for base64.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h := open(t, limits, auth.PlaintextNever)
			env := h.env(t)
			maps.Copy(env.Do, scriptCommands(h))
			env.Vars["initial"] = base64.StdEncoding.EncodeToString([]byte("\x00ann@example.test\x00" + strings.Repeat("x", 9100)))
			sessiontest.Play(t, expand(string(text)), env)
		})
	}
}

// scriptCommands are what scripts can do beside talking.
func scriptCommands(h *house) map[string]func(testing.TB, ...string) {
	return map[string]func(testing.TB, ...string){
		// sendlimits ACCOUNT MESSAGES-PER-HOUR RECIPIENTS-PER-DAY
		"sendlimits": func(t testing.TB, args ...string) {
			t.Helper()
			messages, _ := strconv.ParseInt(args[1], 10, 64)
			recipients, _ := strconv.ParseInt(args[2], 10, 64)
			err := h.store.SetSendLimits(t.Context(), h.accounts[args[0]].ID, storage.SendLimits{MessagesPerHour: messages, RecipientsPerDay: recipients})
			if err != nil {
				t.Fatal(err)
			}
		},
	}
}
