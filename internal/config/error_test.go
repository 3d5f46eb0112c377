package config

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

// What a parser says is put into words about the file, and not at any length.
func TestErrorCause(t *testing.T) {
	f := func(err error, want string) {
		t.Helper()
		e := &Error{Pos: Pos{File: "a.json", Line: 2}, Problem: "not a table", Err: err}
		if got := e.Error(); got != want {
			t.Errorf("%s; want %s", got, want)
		}
	}
	var into struct{ Rows []struct{ Name string } }
	f(json.Unmarshal([]byte(`[]`), &into), "a.json:2: not a table: array in the place of something else")
	f(json.Unmarshal([]byte(`{"Rows":[{"Name":5}]}`), &into), "a.json:2: not a table: Rows.Name is number, in the place of something else")
	f(errors.New(strings.Repeat("x", 2000)), "a.json:2: not a table: "+strings.Repeat("x", 1000)+"…")
}
