package mime

import (
	"strings"
	"testing"
)

func TestUTF7(t *testing.T) {
	for text, want := range map[string]string{
		"Hi Mom -+Jjo--!":            "Hi Mom -☺-!", // RFC 2152
		"A+ImIDkQ.":                  "A≢Α.",
		"+ZeVnLIqe-":                 "日本語",
		"Item 3 is +AKM-1.":          "Item 3 is £1.",
		"1 +- 1":                     "1 + 1",
		"+2D3eAA-x":                  "😀x",
		"+2D0-x":                     "\uFFFDx",
		"+2D0AQQ-":                   "\uFFFDA",
		"caf+AOk":                    "café",
		"+":                          "",
		"\xe9":                       "\uFFFD",
		strings.Repeat("+AOk-", 999): strings.Repeat("é", 999),
	} {
		if got := toUTF8("UTF-7", []byte(text)); got != want {
			t.Errorf("%.20q: %.20q, want %.20q", text, got, want)
		}
	}
}
