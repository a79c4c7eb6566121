package wire

import (
	"fmt"
	"testing"
)

func TestSort(t *testing.T) {
	for in, want := range map[string]string{
		"(DATE) UTF-8 ALL":                                   "[{2 false}] UTF-8 false",
		"(reverse date Subject) us-ascii SEEN 1:2":           "[{2 true} {7 false}] US-ASCII false",
		"(DATE REVERSE DATE SIZE DATE) UTF-8 ALL":            "[{2 false} {6 false}] UTF-8 false",
		"RETURN (MIN) (DISPLAYFROM DISPLAYTO) \"utf-8\" ALL": "[{3 false} {4 false}] UTF-8 true",
		"RETURN () (CC) {5+}\r\nutf-8 SUBJECT {1+}\r\nx":     "[{1 false}] UTF-8 true",
		"(ARRIVAL FROM TO) UTF-8":                            "",
		"(ARRIVAL) ":                                         "",
		"() UTF-8 ALL":                                       "",
		"(REVERSE) UTF-8 ALL":                                "",
		"(REVERSE REVERSE DATE) UTF-8 ALL":                   "",
		"(DATE REVERSE) UTF-8 ALL":                           "",
		"DATE UTF-8 ALL":                                     "",
		"(DATE)UTF-8 ALL":                                    "",
		"(MOON) UTF-8 ALL":                                   "",
		"(DATE) RETURN () UTF-8 ALL":                         "",
		"RETURN (DATE) UTF-8 ALL":                            "",
		"":                                                   "",
	} {
		d := begin(t, in+"\r\n")
		o := d.Sort()
		d.EOL()
		got := ""
		if d.Err() == nil {
			got = fmt.Sprint(o.Criteria, " ", o.Charset, " ", o.Return.Given)
		}
		if got != want {
			t.Errorf("%s: %q; want %q (%v)", in, got, want, d.Err())
		}
	}
}

func TestThread(t *testing.T) {
	for in, want := range map[string]string{
		"references UTF-8 ALL":              "REFERENCES UTF-8",
		"X us-ascii 1":                      "X US-ASCII",
		"REFERENCES UTF-8":                  "",
		"REFERENCES ALL":                    "",
		"(REFERENCES) UTF-8 ALL":            "",
		"RETURN (COUNT) REFERENCES UTF-8 1": "",
		"":                                  "",
	} {
		d := begin(t, in+"\r\n")
		o := d.Thread()
		d.EOL()
		got := ""
		if d.Err() == nil {
			got = o.Algorithm + " " + o.Charset
		}
		if got != want {
			t.Errorf("%s: %q; want %q (%v)", in, got, want, d.Err())
		}
	}
}

func TestPreviewItem(t *testing.T) {
	for in, want := range map[string]string{
		"PREVIEW": "true false", "(PREVIEW)": "true false", "PREVIEW (LAZY)": "true true", "(PREVIEW (LAZY) UID)": "true true", "(UID preview (lazy lazy))": "true true",
		"(PREVIEW PREVIEW (LAZY))": "true false", "(PREVIEW (LAZY) PREVIEW)": "true false", "(PREVIEW (FAST))": "", "(PREVIEW ())": "", "(PREVIEW(LAZY))": "", "(PREVIEW (LAZY": "",
	} {
		d := begin(t, in+"\r\n")
		o := d.Fetch()
		d.EOL()
		got := ""
		if d.Err() == nil {
			got = fmt.Sprint(o.Preview, o.PreviewLazy)
		}
		if got != want {
			t.Errorf("%s: %q; want %q (%v)", in, got, want, d.Err())
		}
	}
}

func FuzzSort(f *testing.F) {
	f.Add("RETURN (PARTIAL 1:2) (REVERSE DATE SUBJECT) UTF-8 OR SEEN TEXT x")
	f.Fuzz(func(t *testing.T, s string) {
		d, _ := open(s + "\r\n")
		_ = d.Next()
		if o := d.Sort(); d.EOL() && (len(o.Criteria) == 0 || len(o.Criteria) > len(sortKeys) || o.Charset == "" || len(o.Key.Keys) == 0) {
			t.Errorf("%q: %+v", s, o)
		}
	})
}
