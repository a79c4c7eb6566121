package outbound

import (
	"strings"
	"testing"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

// A message leaves, with dots doubled, and the connection is used for the next one.
func TestDeliver(t *testing.T) {
	for _, ext := range [][]string{usual, append(usual[:len(usual):len(usual)], "CHUNKING"), {"SIZE"}, nil} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = ext })
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port, o.PerDomain = f.port(), 1
			mx(r, "example.org", "127.0.0.1")
		})
		h.send(storage.Outgoing{From: "ann@packetboat.test"}, hello, "joe@example.org", "eve@example.org")
		h.send(storage.Outgoing{From: "ann@packetboat.test"}, hello, "joe@example.org")
		h.empty()
		all := f.all()
		if len(all) != 2 || len(all[0].to) != 2 || all[0].from != "ann@packetboat.test" || all[0].to[0] != "<joe@example.org>" {
			t.Fatalf("%v: %+v", ext, all)
		}
		want := "line\r\n.dot\r\n"
		if !all[0].chunked {
			want = "line\r\n..dot\r\n"
		}
		if !strings.HasSuffix(all[0].body, want) {
			t.Errorf("%v: %q", ext, all[0].body)
		}
		if all[0].conn != all[1].conn {
			t.Errorf("%v: two connections for two messages", ext)
		}
	}
}
