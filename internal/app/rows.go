package app

import (
	"errors"

	"github.com/telltale-llm/telltale/internal/config"
)

// DefaultCacheDir is where answers and fetched datasets are kept when nothing else is said.
const DefaultCacheDir = ".telltale/cache"

// decodeExpected reads an assertion that a CSV file has in one line. What cannot be run is an error,
// or left out with --skip-unsupported.
func (s *session) decodeExpected(p config.Pos, text string) (a config.Assertion, ok bool, err error) {
	a, left, err := config.ParseExpected(p, text, rowOptions(p.File, s.o.LoadOptions))
	return a, len(left) == 0, errors.Join(s.left(left), err)
}
