package smtp

import "testing"

func TestToldPort(t *testing.T) {
	for text, want := range map[string]uint16{
		"ADDR=192.0.2.1": 0, "ADDR=192.0.2.1 PORT=7": 7, "port=7 addr=192.0.2.1": 7, "ADDR=192.0.2.1 DESTPORT=25": 0, "DESTPORT=25 ADDR=192.0.2.1 PORT=7": 7,
		"ADDR=[UNAVAILABLE] PORT=7": 0, "HELO=x": 4, "DESTPORT=25": 4,
	} {
		to := told{port: 4}
		if r := to.read(text); r != nil || to.port != want {
			t.Errorf("%s: port %d (%v), want %d", text, to.port, r, want)
		}
	}
}
