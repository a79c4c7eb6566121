package storage

import (
	"embed"
	"io/fs"
)

// schema holds the numbered migrations; a file is never changed once it was released, only followed by another.
//
//go:embed schema/*.sql
var schema embed.FS

// migrations are their texts in order.
func migrations() ([]string, error) {
	names, err := fs.Glob(schema, "schema/*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var texts []string
	for _, n := range names {
		b, err := schema.ReadFile(n)
		if err != nil {
			return nil, err
		}
		texts = append(texts, string(b))
	}
	return texts, nil
}
