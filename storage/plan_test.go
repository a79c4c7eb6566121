package storage

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// grow are the tables with a row for each message, recipient, sender, file and the like.
var grow = []string{"account", "address", "annotation", "blob", "blob_shared", "expunged", "mail", "mailbox", "message", "node", "outbox", "outbox_recipient", "part", "seen", "sieve_memory",
	"suppression", "tls_result", "webhook_event"}

// mayScan are statements that may read one of them from end to end, by how they begin.
var mayScan = map[string]string{
	"SELECT account, COUNT(*), SUM(1 + (last - id) / 10) FROM outbox GROUP BY account":         "once, at the start",
	"SELECT account, domain, priority, MIN(due) FROM outbox_recipient WHERE state = 'waiting'": "once, at the start",
	"SELECT COUNT(*) FROM suppression":   "once, at the start",
	"SELECT COUNT(*) FROM webhook_event": "once, at the start",
	"SELECT id, account, domain, priority, due FROM outbox_recipient WHERE state = 'leased'": "an index of what is leased",
	"SELECT COUNT(*) FROM seen":                                       "after a tenth of the largest number of rows was added",
	"DELETE FROM seen WHERE (kind, name) IN":                          "as many as are removed",
	"DELETE FROM suppression WHERE address IN":                        "the sweep",
	"DELETE FROM webhook_event WHERE id IN":                           "by age, which is the order: as many as are removed, and all when none is old",
	"SELECT id, at, kind, queue, body, attempts FROM webhook_event e": "in order, until there are enough; after a failure there is a pause",
	"SELECT id, name, admin, disabled, quota, message_quota, epoch, created, home, mail FROM account ORDER":       "the list of all accounts",
	"SELECT id, name, admin, disabled, quota, message_quota, epoch, created, home, mail FROM account WHERE admin": "the first administrator",
	"SELECT x.local || '@' || x.domain":   "the list of all aliases",
	"DELETE FROM annotation WHERE viewer": "an account is removed",
}

// TestPlans: no statement of the store reads a table that grows from end to end, but those that may.
func TestPlans(t *testing.T) {
	all, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), t.TempDir(), all, sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	planned, used := 0, map[string]bool{}
	for where, query := range statements(t) {
		scans, err := scanned(db, query)
		if err != nil || opening.MatchString(query) {
			continue
		}
		planned++
		for _, table := range scans {
			if !slices.Contains(grow, table) {
				continue
			}
			may := false
			for begin := range mayScan {
				if strings.HasPrefix(query, begin) {
					may, used[begin] = true, true
				}
			}
			if !may {
				t.Errorf("%s reads all of %s: %s", where, table, query)
			}
		}
	}
	if planned < 300 {
		t.Error("statements with a plan:", planned)
	}
	for begin := range mayScan {
		if !used[begin] {
			t.Error("reads nothing from end to end any more:", begin)
		}
	}
}

// opening is what others are made of, if it is SQL by itself at all.
var opening = regexp.MustCompile(` FROM \w+ [a-z]$`)

// scanned are the tables, or views' names for them, that a statement reads from end to end.
func scanned(db *sqldb.DB, query string) (all []string, err error) {
	rows, err := db.Writer().Query("EXPLAIN QUERY PLAN "+query, make([]any, places(query))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		name, ok := strings.CutPrefix(detail, "SCAN ")
		name, _, _ = strings.Cut(name, " ")
		if ok {
			for _, m := range regexp.MustCompile(`(?:FROM|JOIN) (\w+) `+name+`\b`).FindAllStringSubmatch(query, 1) {
				name = m[1] // it goes by another name in the statement
			}
			all = append(all, name)
		}
	}
	return all, rows.Err()
}

var numbered = regexp.MustCompile(`\?(\d+)`)

// places counts the parameters of a statement.
func places(query string) int {
	most := strings.Count(query, "?")
	if m := numbered.FindAllStringSubmatch(query, -1); m != nil {
		most = 0
		for _, x := range m {
			n, _ := strconv.Atoi(x[1])
			most = max(most, n)
		}
	}
	return most
}

// statements are the constants of the package that are SQL, by where they stand.
func statements(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var trees []*ast.File
	consts := map[string]ast.Expr{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, f)
		ast.Inspect(f, func(n ast.Node) bool {
			if v, ok := n.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
				for i := range v.Names {
					consts[v.Names[i].Name] = v.Values[i]
				}
			}
			return true
		})
	}
	var text func(e ast.Expr) (string, bool)
	text = func(e ast.Expr) (string, bool) {
		switch e := e.(type) {
		case *ast.BasicLit:
			s, err := strconv.Unquote(e.Value)
			return s, err == nil && e.Kind == token.STRING
		case *ast.Ident:
			if v := consts[e.Name]; v != nil {
				return text(v)
			}
		case *ast.BinaryExpr:
			x, ok1 := text(e.X)
			y, ok2 := text(e.Y)
			return x + y, ok1 && ok2
		}
		return "", false
	}
	found := map[string]string{}
	for _, f := range trees {
		ast.Inspect(f, func(n ast.Node) bool {
			e, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s, ok := text(e)
			if _, isName := e.(*ast.Ident); ok && !isName && regexp.MustCompile(`^(SELECT|UPDATE|DELETE|INSERT) `).MatchString(s) {
				found[set.Position(e.Pos()).String()] = s
				return false
			}
			return true
		})
	}
	return found
}
