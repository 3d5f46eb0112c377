package dataset

import "github.com/telltale-llm/telltale/internal/config"

// expanding makes several cases of a row where the suite's defaults have lists of values. Each counts
// as a row of its own, so that samples and passes see the same numbers.
type expanding struct {
	reader
	source *source
	make   func(config.Test) ([]config.Test, error)
	row    item // as the format reads it
	cases  []config.Test
	err    error
}

// next moves to the next case, of the same row if it has more.
func (e *expanding) next() error {
	if len(e.cases) > 1 {
		e.cases = e.cases[1:]
		return nil
	}
	for {
		if err := e.reader.next(); err != nil {
			return err
		}
		e.row, e.cases = item{test: config.Test{Pos: e.reader.at()}}, nil
		if e.err = e.reader.decode(&e.row); e.err == nil {
			// The id is taken from its field before the row becomes several, which then get ids of their own.
			if e.err = e.source.label(&e.row); e.err == nil {
				e.cases, e.err = e.make(e.row.test)
			}
		}
		if e.err != nil || len(e.cases) > 0 {
			return nil //nolint:nilerr // decode tells it, with the row's place
		}
	}
}

// decode hands out the case at hand.
func (e *expanding) decode(it *item) error {
	if e.err != nil {
		return e.err
	}
	*it = e.row
	it.test = e.cases[0]
	return nil
}
