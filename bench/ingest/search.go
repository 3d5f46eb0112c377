//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	_ "github.com/duckdb/duckdb-go/v2" // the database's driver

	"github.com/telltale-llm/telltale/internal/store/duckdb"
)

// search looks into the database that a server has left, past everything of the server's.
func search(ctx context.Context, data string) (f found, err error) {
	var files []string
	err = filepath.WalkDir(data, func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == duckdb.File {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 1 {
		return f, errors.Join(err, fmt.Errorf("%d databases under the data directory, want one", len(files)))
	}
	db, err := sql.Open("duckdb", files[0]+"?access_mode=READ_ONLY")
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = db.QueryRowContext(ctx, `SELECT count(*), count(DISTINCT e.id), count(DISTINCT c.input), sum(length(c.system) + length(c.input) + length(c.output)),
		count(*) FILTER (contains(c.input, ?)), count(*) FILTER (contains(c.input, '[EMAIL]'))
		FROM exchanges e LEFT JOIN content c ON c.key = e.key AND c.id = e.id`, planted).
		Scan(&f.exchanges, &f.ids, &f.texts, &f.bytes, &f.leaked, &f.marked)
	return f, err
}
