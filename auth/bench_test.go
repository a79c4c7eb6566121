package auth

import (
	"fmt"
	"testing"

	"github.com/packetboat/packetboat/auth/session"
)

// One password, and one for each CPU at a time.
func BenchmarkHash(b *testing.B) {
	h := newHasher(usualCost)
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			h.verify(nil, "secret")
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				h.verify(nil, "secret")
			}
		})
	})
}

func BenchmarkCredentials(b *testing.B) {
	for b.Loop() {
		if _, err := Credentials("secret"); err != nil {
			b.Fatal(err)
		}
	}
}

// Logins of one account on one session, by how the password is proved.
func BenchmarkLogin(b *testing.B) {
	r, ann := newRig(b, Options{}, session.Limits{})
	r.door.hash = newHasher(usualCost)
	if err := r.door.SetPassword(b.Context(), ann.ID, "secret"); err != nil {
		b.Fatal(err)
	}
	s := r.local()
	b.Run("cached", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.door.Login(b.Context(), s, "ann@example.test", "secret"); err != nil {
				b.Fatal(err)
			}
			s.Logout()
		}
	})
	token := r.token(ann.ID, "phone")
	b.Run("token", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.door.Login(b.Context(), s, "ann@example.test", token); err != nil {
				b.Fatal(err)
			}
			s.Logout()
		}
	})
	b.Run("cached parallel", func(b *testing.B) {
		var all []*session.Session
		for range 16 {
			all = append(all, r.local())
		}
		next := make(chan *session.Session, len(all))
		for _, s := range all {
			next <- s
		}
		b.RunParallel(func(pb *testing.PB) {
			s := <-next
			for pb.Next() {
				if _, err := r.door.Login(b.Context(), s, "ann@example.test", "secret"); err != nil {
					b.Fatal(err)
				}
				s.Logout()
			}
			next <- s
		})
	})
	b.Run("hashed", func(b *testing.B) {
		for b.Loop() {
			r.door.cache.forget(ann.ID)
			if _, err := r.door.Login(b.Context(), s, "ann@example.test", "secret"); err != nil {
				b.Fatal(err)
			}
			s.Logout()
		}
	})
	b.Run("scram", func(b *testing.B) { // the client keeps the keys it derived once
		c := client(b, "ann", "secret", "")
		for b.Loop() {
			if err, errClient := r.talk(s, "SCRAM-SHA-256", c.NewConversation()); err != nil || errClient != nil {
				b.Fatal(err, errClient)
			}
			s.Logout()
		}
	})
}

func BenchmarkThrottle(b *testing.B) {
	th := newThrottle(newClock().now)
	var all []origin
	for i := range 1000 {
		o := at(fmt.Sprintf("10.0.%d.%d", i/250, i%250), int64(i))
		th.fail(o)
		all = append(all, o)
	}
	for i := 0; b.Loop(); i++ {
		th.admit(all[i%len(all)])
	}
}

// A bearer token of an issuer whose keys are known: one signature (ES256), verified each time.
func BenchmarkIssuedToken(b *testing.B) {
	r, _, l := newOIDCRig(b)
	token := l.token("one", r.clock.now(), nil)
	for b.Loop() {
		if _, why, err := r.door.issuer.verify(b.Context(), token); why != "" || err != nil {
			b.Fatal(why, err)
		}
	}
}
