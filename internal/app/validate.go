package app

import (
	"context"
	"errors"
	"fmt"
)

// Validate reads a suite with its dataset and checks everything that can be checked without asking a
// provider. It returns one line about what the suite holds.
func Validate(ctx context.Context, o RunOptions) (string, error) {
	o.Notice = once(o.Notice)
	s, err := open(ctx, &o)
	if err != nil {
		return "", err
	}
	p := s.plan
	sum := fmt.Sprintf("%d cases (of %d rows), %d prompts, %d providers, %d samples each: %d samples",
		p.Count, s.ref.Rows, len(s.suite.Prompts), len(s.suite.Providers), p.Repeats, p.Planned())
	return sum, errors.Join(err, s.Close())
}
