package mime

import "testing"

func TestAppendBody(t *testing.T) {
	for structure, want := range map[string]string{
		`("text" "plain" NIL "<i>" "d" "7bit" 1 0 "md5" ("inline" ("filename" "a)b")) ("en" "de") "loc")`: `("text" "plain" NIL "<i>" "d" "7bit" 1 0)`,
		`("a" "b" ("n" "x\")") NIL NIL "7bit" 1 NIL NIL NIL NIL)`:                                         `("a" "b" ("n" "x\")") NIL NIL "7bit" 1)`,
		"(\"a\" \"b\" (\"n\" {4}\r\n)))\") NIL {1}\r\n( \"7bit\" 1 {2}\r\n(( NIL NIL NIL)":                "(\"a\" \"b\" (\"n\" {4}\r\n)))\") NIL {1}\r\n( \"7bit\" 1)",
		`("message" "delivery-status" NIL NIL NIL "7bit" 1 NIL NIL NIL NIL)`:                              `("message" "delivery-status" NIL NIL NIL "7bit" 1)`,
		`("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "s" ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL) (("text" "html" NIL NIL NIL "7bit" 3 0 NIL NIL NIL NIL) "mixed" ("boundary" "x") NIL NIL NIL) 7 NIL ("inline" NIL) NIL NIL)`: `("message" "rfc822" NIL NIL NIL "7bit" 9 (NIL "s" ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL) (("text" "html" NIL NIL NIL "7bit" 3 0) "mixed") 7)`,
	} {
		got, err := AppendBody([]byte("x"), []byte(structure))
		if err != nil || string(got) != "x"+want {
			t.Errorf("got %v\n%s\nwant\n%s", err, got, want)
		}
		for n := range len(structure) {
			if got, err := AppendBody([]byte("x"), []byte(structure[:n])); err == nil || string(got) != "x" {
				t.Fatalf("%q gives %q", structure[:n], got)
			}
		}
	}
	for _, damaged := range []string{"()", "NIL", `("text" "plain")`, "({9}\r\nx)", "({99999999999999999999999}\r\nx)", `("a" "b" NIL NIL NIL "7bit" 1) `} {
		if _, err := AppendBody(nil, []byte(damaged)); err == nil {
			t.Errorf("%q is taken", damaged)
		}
	}
}
