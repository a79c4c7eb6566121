package sqldb

import (
	"strconv"
	"strings"
)

// dialect is how a database's SQL differs from the text that the callers write.
type dialect struct {
	begin string
	// durable and relaxed choose between transactions whether COMMIT waits for the disk.
	durable, relaxed string
	// text rewrites a statement before it is prepared; nil leaves it as it is.
	text func(query string) string
	// schema rewrites a migration.
	schema func(script string) string
}

var sqliteDialect = dialect{begin: "BEGIN IMMEDIATE", durable: "PRAGMA synchronous=FULL", relaxed: "PRAGMA synchronous=NORMAL"}

// postgresDialect is the whole seam to PostgreSQL: placeholders, three type words and SQLite's table options.
var postgresDialect = dialect{
	begin:   "BEGIN",
	durable: "SET synchronous_commit = on",
	relaxed: "SET synchronous_commit = off",
	text:    numbered,
	schema: func(script string) string {
		return strings.NewReplacer(
			") STRICT, WITHOUT ROWID;", ");",
			") STRICT;", ");",
			" INTEGER", " BIGINT",
			" BLOB", " BYTEA",
			" TEXT", ` TEXT COLLATE "C"`,
		).Replace(script)
	},
}

func (d dialect) query(q string) string {
	if d.text == nil {
		return q
	}
	return d.text(q)
}

func (d dialect) script(s string) string {
	if d.schema == nil {
		return s
	}
	return d.schema(s)
}

// numbered makes $1, $2, ... of the question marks outside of quotes.
func numbered(q string) string {
	var b strings.Builder
	n, quote := 0, byte(0)
	for i := 0; i < len(q); i++ {
		c := q[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
