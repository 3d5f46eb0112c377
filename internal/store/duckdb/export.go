//go:build cgo

package duckdb

import (
	"context"
	"io"

	"github.com/telltale-llm/telltale/internal/store"
)

// Export writes Parquet.
func (s *Store) Export(ctx context.Context, q store.Query, w io.Writer) (int64, error) {
	return store.ExportPages(ctx, s.List, q, w)
}
