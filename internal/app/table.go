package app

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/audit"
	"github.com/telltale-llm/telltale/internal/config"
)

// tableRow is a row of a file of labels.
type tableRow struct {
	pos    config.Pos
	fields map[string]any
}

// readTable reads JSON Lines, a JSON list of objects, or CSV and TSV with a header, told apart by the file's name and
// for JSON by its first character.
func readTable(path string) ([]tableRow, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: cause(err)}
	}
	return parseTable(path, bytes.TrimPrefix(data, []byte("\ufeff")))
}

func parseTable(path string, data []byte) (rows []tableRow, err error) {
	switch ext := strings.ToLower(filepath.Ext(path)); {
	case ext == ".csv" || ext == ".tsv":
		rows, err = parseCSV(path, data, ext == ".tsv")
	case bytes.HasPrefix(bytes.TrimSpace(data), []byte("[")):
		var list []map[string]any
		if err := decodeRows(data, &list); err != nil {
			return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "not a JSON list of objects", Err: err}
		}
		for i, fields := range list {
			rows = append(rows, tableRow{config.Pos{File: path, Key: fmt.Sprintf("[%d]", i)}, fields})
		}
	default:
		line := 0
		for text := range bytes.Lines(data) {
			line++
			if len(bytes.TrimSpace(text)) == 0 {
				continue
			}
			row := tableRow{pos: config.Pos{File: path, Line: line}}
			if err := decodeRows(text, &row.fields); err != nil {
				return nil, &config.Error{Pos: row.pos, Problem: "not a JSON object", Err: err, Want: "JSON Lines, a JSON list, or a file whose name ends in .csv"}
			}
			rows = append(rows, row)
		}
	}
	if err == nil && len(rows) == 0 {
		err = &config.Error{Pos: config.Pos{File: path}, Problem: "holds no row"}
	}
	return rows, err
}

// decodeRows reads JSON with its numbers as they are written, for an id may have more digits than a float64 holds.
func decodeRows(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

func parseCSV(path string, data []byte, tabs bool) ([]tableRow, error) {
	r := csv.NewReader(bytes.NewReader(data))
	if tabs {
		r.Comma = '\t'
	}
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	for i, name := range header {
		if header[i] = strings.TrimSpace(name); slices.Contains(header[:i], header[i]) {
			return nil, &config.Error{Pos: config.Pos{File: path, Line: 1}, Value: header[i], Problem: "two columns have this name", Want: "one of each"}
		}
	}
	var rows []tableRow
	for err == nil {
		var fields []string
		if fields, err = r.Read(); err != nil {
			break
		}
		line, _ := r.FieldPos(0)
		row := tableRow{config.Pos{File: path, Line: line}, map[string]any{}}
		for i, name := range header {
			row.fields[name] = fields[i]
		}
		rows = append(rows, row)
	}
	if !errors.Is(err, io.EOF) {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "not CSV", Err: err}
	}
	return rows, nil
}

// columnsOf lists the columns of all rows, sorted.
func columnsOf(rows []tableRow) []string {
	seen := map[string]bool{}
	var out []string
	for _, row := range rows {
		for c := range row.fields {
			if !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	slices.Sort(out)
	return out
}

// labelOf makes a label of a field. given is false for one that is null or not there. True and false are pass and fail.
func labelOf(v any) (label string, given bool) {
	switch v := v.(type) {
	case nil:
		return "", false
	case bool:
		if v {
			return "pass", true
		}
		return "fail", true
	}
	return audit.Canonical(fmt.Sprint(v)), true
}
