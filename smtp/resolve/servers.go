package resolve

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// resolvConf is where the servers stand when the options name none.
const resolvConf = "/etc/resolv.conf"

// lookAgain is how often resolv.conf is looked at for a change, penance how long a server that failed is asked after the others.
const (
	lookAgain = 5 * time.Second
	penance   = 30 * time.Second
)

// servers knows whom to ask.
type servers struct {
	file string // "": the set is fixed

	mu     sync.Mutex
	set    *serverSet
	looked time.Time
	stamp  time.Time // the file's time when it was read
}

// serverSet is a list of servers; it does not change but for their failures.
type serverSet struct {
	list     []*server
	loopback bool // all of them
	trustAD  bool // resolv.conf says so
}

// server is one to ask.
type server struct {
	address string       // ip:port
	failed  atomic.Int64 // when it failed last, in Unix nanoseconds; 0: it answers
}

func newServers(addresses []string) *servers {
	if len(addresses) > 0 {
		return &servers{set: newSet(addresses)}
	}
	return &servers{file: resolvConf}
}

func newSet(addresses []string) *serverSet {
	s := &serverSet{loopback: len(addresses) > 0}
	for _, a := range addresses {
		if _, _, err := net.SplitHostPort(a); err != nil {
			a = net.JoinHostPort(strings.Trim(a, "[]"), "53")
		}
		s.list = append(s.list, &server{address: a})
		ap, err := netip.ParseAddrPort(a)
		s.loopback = s.loopback && err == nil && ap.Addr().Unmap().IsLoopback()
	}
	return s
}

func (s *serverSet) addresses() []string {
	all := make([]string, len(s.list))
	for i, v := range s.list {
		all[i] = v.address
	}
	return all
}

// order gives the servers as they are to be asked: those that failed lately last.
func (s *serverSet) order() []*server {
	since := time.Now().Add(-penance).UnixNano()
	all := make([]*server, 0, len(s.list))
	for _, v := range s.list {
		if v.failed.Load() < since {
			all = append(all, v)
		}
	}
	if len(all) == len(s.list) {
		return all
	}
	for _, v := range s.list {
		if v.failed.Load() >= since {
			all = append(all, v)
		}
	}
	return all
}

// silent tells whether all of them failed lately.
func (s *serverSet) silent() bool {
	since := time.Now().Add(-penance).UnixNano()
	for _, v := range s.list {
		if v.failed.Load() < since {
			return false
		}
	}
	return true
}

// current gives the servers of now: resolv.conf is read again when it has changed.
func (s *servers) current() *serverSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.file == "" || s.set != nil && now.Sub(s.looked) < lookAgain {
		return s.set
	}
	s.looked = now
	info, err := os.Stat(s.file)
	if err == nil && s.set != nil && info.ModTime().Equal(s.stamp) {
		return s.set
	}
	if err == nil {
		s.stamp = info.ModTime()
	}
	s.set = readServers(s.file)
	return s.set
}

// readServers reads resolv.conf. When it is not there or names nobody, this machine is asked, as resolv.conf(5) has it.
func readServers(file string) *serverSet {
	var addresses []string
	if c, err := dns.ClientConfigFromFile(file); err == nil {
		for _, a := range c.Servers[:min(len(c.Servers), 3)] { // resolv.conf(5): up to three
			addresses = append(addresses, net.JoinHostPort(a, c.Port))
		}
	}
	if len(addresses) == 0 {
		addresses = []string{"127.0.0.1:53", "[::1]:53"}
	}
	s := newSet(addresses)
	text, _ := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "options" {
			for _, o := range f[1:] {
				s.trustAD = s.trustAD || o == "trust-ad"
			}
		}
	}
	return s
}

// trusts tells whether the AD bit of these servers is believed.
func (r *Resolver) trusts(s *serverSet) bool {
	return !r.options.IgnoreAD && (r.options.TrustAD || s.loopback || s.trustAD)
}
