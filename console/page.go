package console

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string
)

// page is what people see at /: what this is and what to type into their clients. It names hosts and ports and nothing else.
type page struct {
	text *template.Template
	csp  string
}

func newPage() page {
	sum := sha256.Sum256([]byte(pageCSS))
	return page{
		text: template.Must(template.New("page").Parse(pageHTML)),
		csp:  "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; form-action 'self'",
	}
}

func (s *Server) front(*http.Request) *answer {
	type row struct {
		Use, Protocol, Security string
		Port                    int
	}
	uses := map[string]string{"imap": "Mail in", "smtp": "Mail out", "ftp": "Files", "sieve": "Filters"}
	names := map[string]string{"imap": "IMAP", "smtp": "SMTP", "ftp": "FTP", "sieve": "ManageSieve"}
	var view struct {
		CSS       template.CSS
		Name      string
		Rows      []row
		Mail      bool
		Files     bool
		TrustedCA bool
	}
	view.CSS, view.Name, view.TrustedCA = template.CSS(pageCSS), s.o.Name, s.o.TrustedCA
	for _, v := range s.o.Services {
		view.Rows = append(view.Rows, row{uses[v.Protocol], names[v.Protocol], v.Security(), v.Port})
		view.Files = view.Files || v.Protocol == "ftp"
	}
	view.Mail = s.o.mail() && s.o.HTTPS != 0
	var b bytes.Buffer
	if err := s.page.text.Execute(&b, view); err != nil {
		s.o.Logger.Error("cannot write the page", "error", err)
		return refusal(http.StatusInternalServerError, "try again later")
	}
	return &answer{kind: kindHTML, body: b.Bytes(), csp: s.page.csp}
}
