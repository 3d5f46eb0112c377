//go:build !cgo

package main

import (
	"context"
	"errors"
)

func search(context.Context, string) (found, error) {
	return found{}, errors.New("built without cgo, which DuckDB needs")
}
