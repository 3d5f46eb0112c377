package main

import (
	"errors"
	"os"
	"strings"
)

// replaceFigures puts text between the document's marker lines.
func replaceFigures(path, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(data), beginMark+"\n")
	_, after, closed := strings.Cut(rest, endMark)
	if !found || !closed {
		return errors.New(path + " has no lines " + beginMark + " and " + endMark)
	}
	return os.WriteFile(path, []byte(before+beginMark+"\n"+text+endMark+after), 0o644)
}
