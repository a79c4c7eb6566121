package console

import (
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// where a document may be had.
type where int

const (
	anywhere where = iota
	onlyTLS        // in clear there is no such thing
	goTLS          // in clear the client is sent to the TLS listener
)

// route is a document. Policy is in the columns.
type route struct {
	path    string
	fold    bool // the path is compared without regard to case
	below   bool // whatever is below the path too
	methods []string
	where   where
	answer  func(*Server, *http.Request) *answer
}

var (
	reading = []string{http.MethodGet, http.MethodHead}
	posting = []string{http.MethodPost}
)

var routes = []route{
	{path: "/", methods: reading, answer: (*Server).front},
	{path: "/health", methods: reading, answer: (*Server).health},
	{path: "/settings.json", methods: reading, answer: (*Server).settings},
	// RFC 8461 section 3.3: by HTTPS alone.
	{path: "/.well-known/mta-sts.txt", methods: reading, where: onlyTLS, answer: (*Server).policy},
	{path: "/mail/config-v1.1.xml", methods: reading, answer: (*Server).autoconfig},
	{path: "/.well-known/autoconfig/mail/config-v1.1.xml", methods: reading, answer: (*Server).autoconfig},
	{path: "/autodiscover/autodiscover.xml", fold: true, methods: posting, where: goTLS, answer: (*Server).autodiscover},
	{path: "/autodiscover/autodiscover.json", fold: true, below: true, methods: reading, where: goTLS, answer: (*Server).discoverer},
	{path: "/mobileconfig", methods: reading, where: goTLS, answer: (*Server).profile},
}

// found is the route of a path.
func found(path string) *route {
	for i := range routes {
		r := &routes[i]
		p := path
		if r.fold {
			p = strings.ToLower(p)
		}
		if p == r.path || r.below && strings.HasPrefix(p, r.path+"/") {
			return r
		}
	}
	return nil
}

// answer is what a client gets.
type answer struct {
	status int // 0: 200
	kind   string
	body   []byte
	fresh  int    // seconds for which it may be kept; 0: it may not
	name   string // under which it is saved; "": shown
	to     string // where it is, of a redirect
	csp    string // Content-Security-Policy; "": nothing may be loaded
	allow  []string
}

// The kinds of documents.
const (
	kindText    = "text/plain; charset=utf-8"
	kindHTML    = "text/html; charset=utf-8"
	kindXML     = "text/xml; charset=utf-8"
	kindJSON    = "application/json"
	kindProfile = "application/x-apple-aspen-config"
)

// refusal is an answer in words.
func refusal(status int, words string) *answer {
	return &answer{status: status, kind: kindText, body: []byte(words + "\n")}
}

var errNotOurs = errors.New("not a domain of this server")

// ServeHTTP answers one request: a command of its session.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Logger.Error("a request failed", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			panic(http.ErrAbortHandler) // ends the connection without another line in the log
		}
	}()
	if ses := sessionOf(r); ses != nil {
		ses.Begin(r.Method + " " + r.URL.EscapedPath())
		if ua := r.UserAgent(); ua != "" && ses.Client() == "" {
			ses.SetClient(ua)
		}
		if ses.Ending() != nil {
			w.Header().Set("Connection", "close") // RFC 9110 section 7.6.1; HTTP/2 makes GOAWAY of it
		}
	}
	a := s.reply(r)
	if !bodiless(r) && a.status != 0 {
		w.Header().Set("Connection", "close") // what is left of the body is not read
	}
	a.write(w, r)
	s.o.Logger.Debug("request", "method", r.Method, "path", r.URL.Path, "host", r.Host, "status", max(a.status, http.StatusOK))
}

// bodiless tells whether a request has no body.
func bodiless(r *http.Request) bool { return r.ContentLength == 0 }

// reply finds who answers r, after what the columns say was looked at.
func (s *Server) reply(r *http.Request) *answer {
	t := found(r.URL.Path)
	switch {
	case t == nil, t.where == onlyTLS && r.TLS == nil:
		return refusal(http.StatusNotFound, "there is nothing here")
	case t.where == goTLS && r.TLS == nil:
		if !slices.Contains(reading, r.Method) && !slices.Contains(t.methods, r.Method) {
			break
		}
		if s.o.HTTPS == 0 {
			return refusal(http.StatusNotFound, "there is nothing here")
		}
		return &answer{status: http.StatusFound, to: s.origin() + r.URL.RequestURI(), kind: kindText}
	}
	if !slices.Contains(t.methods, r.Method) {
		a := refusal(http.StatusMethodNotAllowed, "not by this method")
		a.allow = t.methods
		return a
	}
	if r.Method != http.MethodPost && !bodiless(r) {
		return refusal(http.StatusRequestEntityTooLarge, "no body is wanted")
	}
	return t.answer(s, r)
}

// origin is the URL of the TLS listener.
func (s *Server) origin() string {
	if s.o.HTTPS == 443 {
		return "https://" + s.o.Name
	}
	return "https://" + net.JoinHostPort(s.o.Name, strconv.Itoa(s.o.HTTPS))
}

// write sends a. Nothing that is served here wants to be framed, guessed at, or to load anything.
func (a *answer) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	csp := a.csp
	if csp == "" {
		csp = "default-src 'none'"
	}
	h.Set("Content-Security-Policy", csp+"; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Type", a.kind)
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	if a.fresh > 0 {
		h.Set("Cache-Control", "public, max-age="+strconv.Itoa(a.fresh))
	} else {
		h.Set("Cache-Control", "no-store")
	}
	if a.name != "" {
		h.Set("Content-Disposition", `attachment; filename="`+a.name+`"`)
	}
	if a.to != "" {
		h.Set("Location", a.to)
	}
	if len(a.allow) > 0 {
		h.Set("Allow", strings.Join(a.allow, ", "))
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body)
	}
}

// host is the name that r was sent to, without port and last dot.
func host(r *http.Request) string {
	name := r.Host
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// ours is name as a domain of this server, or errNotOurs.
func (s *Server) ours(r *http.Request, name string) (string, error) {
	if len(name) > 1024 {
		return "", errNotOurs
	}
	_, domain, err := storage.ParseAddress("postmaster@" + strings.TrimSuffix(name, "."))
	if err != nil {
		return "", errNotOurs
	}
	all, err := s.o.Domains(r.Context())
	if err != nil {
		return "", err
	}
	if !slices.Contains(all, domain) {
		return "", errNotOurs
	}
	return domain, nil
}

// asked is the domain that a question is about: that of the address, if one was given, else that of the host name below which one of
// prefixes was asked (autoconfig.example.org, or example.org itself).
func (s *Server) asked(r *http.Request, address string, prefixes ...string) (string, error) {
	if address != "" {
		_, domain, ok := cutLast(address, "@")
		if !ok {
			return "", errNotOurs
		}
		return s.ours(r, domain)
	}
	name := host(r)
	for _, p := range prefixes {
		if d, ok := strings.CutPrefix(name, p+"."); ok {
			if domain, err := s.ours(r, d); !errors.Is(err, errNotOurs) {
				return domain, err
			}
		}
	}
	return s.ours(r, name)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// failed is the answer to what asked or ours said.
func (s *Server) failed(err error) *answer {
	if errors.Is(err, errNotOurs) {
		return refusal(http.StatusNotFound, errNotOurs.Error())
	}
	s.o.Logger.Error("cannot tell which domains are ours", "error", err)
	return refusal(http.StatusServiceUnavailable, "try again later")
}

// health is 200 while the store answers.
func (s *Server) health(r *http.Request) *answer {
	if _, err := s.o.Domains(r.Context()); err != nil {
		return s.failed(err)
	}
	return &answer{kind: kindText, body: []byte("ok\n")}
}
