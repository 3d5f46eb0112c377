package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Scan is the first pass. It reads and checks every row of every source, including those that
// filters and sampling leave out, and calls visit, if it is not nil, with each case that is kept,
// in file order within a source. What visit returns is reported at the row's place.
//
// The reference's hash is the first 16 hex digits of the SHA-256 over the digests of the cases kept,
// in order; see caseDigest for what a digest covers. Mistakes in the data are config.Errors, at most
// MaxErrors of them; a cancelled context and a failing disk are returned as they are.
func (d *Dataset) Scan(ctx context.Context, visit func(Row) error) (record.DatasetRef, error) {
	d.scanned = false
	if err := d.spoolAll(ctx); err != nil {
		return record.DatasetRef{}, err
	}
	sc := &scan{d: d, ids: newIdentifier(), visit: visit, sum: sha256.New()}
	sc.pass = pass{ctx: ctx, opts: &d.opts, total: d.total, progress: d.opts.Progress, unsupported: sc.unsupported}
	for _, s := range d.sources {
		if err := sc.source(s); err != nil {
			return record.DatasetRef{}, err
		}
	}
	sc.pass.report()
	d.repeated = sc.ids.repeatedSet()
	if !sc.full() {
		if err := sc.duplicates(); err != nil {
			return record.DatasetRef{}, err
		}
	}
	if len(sc.errs) == 0 {
		if err := sc.visitSamples(); err != nil {
			return record.DatasetRef{}, err
		}
	}
	if len(sc.errs) == 0 {
		for _, s := range d.sources {
			if e := s.empty(); e != nil {
				sc.errs = append(sc.errs, e)
			}
		}
	}
	if sc.full() {
		sc.errs = sc.errs[:d.opts.MaxErrors:d.opts.MaxErrors]
		if d.opts.MaxErrors > 1 {
			sc.errs = append(sc.errs, &config.Error{Problem: fmt.Sprintf("stopped after %d mistakes in the data", d.opts.MaxErrors)})
		}
		return record.DatasetRef{}, sc.errs
	}
	if err := sc.errs.Err(); err != nil {
		return record.DatasetRef{}, err
	}
	d.scanned = true
	ref := record.DatasetRef{Hash: hex.EncodeToString(sc.sum.Sum(nil)[:8])}
	for _, s := range d.sources {
		ref.Rows += s.count.rows
		ref.Cases += s.count.cases
	}
	return ref, nil
}

// scan is the state of one Scan.
type scan struct {
	d      *Dataset
	pass   pass
	ids    *identifier
	visit  func(Row) error
	sum    hash.Hash
	errs   config.Errors
	enc    encoder // holds the variables of the row at hand
	digest encoder
}

// full says that no more mistakes are collected.
func (sc *scan) full() bool { return len(sc.errs) >= sc.d.opts.MaxErrors }

// unsupported passes on what cannot be done; without anyone to tell, it is a mistake.
func (sc *scan) unsupported(pos config.Pos, what string) {
	if tell := sc.d.opts.Unsupported; tell != nil {
		tell(pos, what)
		return
	}
	sc.errs = append(sc.errs, &config.Error{Pos: pos, Problem: what + " is not supported"})
}

// source reads one source: ids, filter, sample, digests.
func (sc *scan) source(s *source) error {
	if sc.full() {
		return nil
	}
	s.kept, s.tagged = nil, false
	s.count = count{}
	var smp *sampler
	if s.tests.Sample > 0 {
		smp = newSampler(s.tests.Sample, sc.d.opts.Seed)
	}
	repeated, rows := sc.ids.extra, sc.pass.rows
	err := sc.pass.each(s, func(n int, it *item, err error) bool {
		if err == nil {
			err = sc.row(s, smp, n, it)
		}
		if err != nil {
			if isContext(err) {
				sc.pass.fatal = err
				return false
			}
			sc.errs.Append(config.Pos{File: it.test.Pos.File, Line: it.test.Pos.Line}, err)
		}
		return !sc.full()
	})
	s.count.repeated, s.count.rows = sc.ids.extra-repeated, sc.pass.rows-rows
	if smp != nil {
		s.kept = smp.finish(sc.sum)
		s.count.cases = len(s.kept)
	}
	if err != nil {
		if !isMistake(err) {
			return err
		}
		sc.errs.Append(s.tests.Pos, err)
	}
	return nil
}

func (sc *scan) row(s *source, smp *sampler, n int, it *item) error {
	row, err := sc.ids.row(it, &sc.enc)
	if err != nil {
		return err
	}
	s.tagged = s.tagged || len(row.Test.Tags) > 0
	if !s.filter.match(row.Test.Tags) {
		return nil
	}
	s.count.matched++
	digest, err := caseDigest(&sc.digest, &row.Test, sc.enc.buf)
	if err != nil {
		return err
	}
	if smp != nil {
		smp.offer(n, row.Test.ID, digest)
		return nil
	}
	s.count.cases++
	sc.sum.Write(digest[:])
	if sc.visit != nil {
		return sc.visit(row)
	}
	return nil
}

// visitSamples shows the visitor the cases of the sampled sources, whose choice is known only now.
func (sc *scan) visitSamples() error {
	if sc.visit == nil {
		return nil
	}
	ids := &numbering{repeated: sc.d.repeated}
	last := -1
	for i, s := range sc.d.sources {
		if s.sampled() {
			last = i
		}
	}
	for _, s := range sc.d.sources[:last+1] {
		if !s.sampled() && len(sc.d.repeated) == 0 {
			continue
		}
		var failed error
		_, err := sc.d.replay(sc.pass.ctx, s, ids, func(r Row) bool {
			if !s.sampled() {
				return true // read for the numbering of repeated rows only
			}
			if err := sc.visit(r); err != nil {
				if isContext(err) {
					failed = err
					return false
				}
				sc.errs.Append(config.Pos{File: r.Test.Pos.File, Line: r.Test.Pos.Line}, err)
			}
			return !sc.full()
		})
		if err = errors.Join(failed, err); err != nil {
			return err
		}
		if sc.full() {
			return nil
		}
	}
	return nil
}

// duplicates reports ids that two rows have. The scan remembers only 64 bits of each id, so the
// candidates are read again to be sure, and to name both lines.
func (sc *scan) duplicates() error {
	if len(sc.ids.suspects) == 0 {
		return nil
	}
	first := map[string]config.Pos{}
	ids := &numbering{repeated: sc.d.repeated}
	enc := &encoder{}
	for _, s := range sc.d.sources {
		p := &pass{ctx: sc.pass.ctx, opts: &sc.d.opts}
		err := p.each(s, func(_ int, it *item, err error) bool {
			if err != nil {
				return true // reported by the scan
			}
			row, err := ids.row(it, enc)
			if err != nil || !sc.ids.suspect(row.Test.ID) {
				return true
			}
			t := row.Test
			if at, ok := first[t.ID]; !ok {
				first[t.ID] = t.Pos
			} else {
				e := &config.Error{
					Pos: config.Pos{File: t.Pos.File, Line: t.Pos.Line, Key: it.idKey}, Value: t.ID,
					Problem: "this id is already used at " + config.Pos{File: at.File, Line: at.Line}.String(),
					Want:    "a different id for every case",
					Hint:    `name another field with id:, or set id: "-" to identify cases by their content`,
				}
				if t.Pos.Key != "" { // a case of a suite or a YAML file, not a row
					e.Pos, e.Hint = t.Pos.At("id"), ""
				}
				sc.errs = append(sc.errs, e)
			}
			return !sc.full()
		})
		if err != nil && !isMistake(err) {
			return err
		}
		if sc.full() {
			return nil
		}
	}
	return nil
}

// empty returns an error when nothing of s is kept, naming what removed it.
func (s *source) empty() *config.Error {
	if s.count.cases > 0 {
		return nil
	}
	e := &config.Error{Pos: s.tests.Pos, Value: s.tests.Path, Problem: "no cases: there is not one row", Want: "at least one"}
	if s.count.rows > 0 {
		e.Pos = e.Pos.At("filter")
		e.Value = strings.Join(s.tests.Tags, ", ")
		e.Problem = fmt.Sprintf("no cases: none of the cases in %d rows passes the filter", s.count.rows)
		e.Want = "tags that at least one case carries"
		if !s.tagged {
			e.Hint = "no row has any tag; for flat rows, tags: names the field that holds them"
		}
	}
	return e
}

// pass reads sources row by row.
type pass struct {
	ctx         context.Context
	opts        *Options
	rows        int
	number      int   // of the row at hand, within its source
	bytes       int64 // of the files finished
	current     *int64
	total       int64
	progress    func(rows int, bytes, total int64)
	unsupported func(pos config.Pos, what string) // nil ignores
	skip        func(n int) bool                  // rows that need not be decoded; nil: none
	item        item                              // the row at hand; one for all rows, to spare an allocation
	fatal       error                             // set by a callback that returns false to fail
}

// checkEvery is how many rows are read between two looks at the context.
const checkEvery = 256

// each calls fn with every row of s and its number within s, from 0. A row that cannot be decoded comes with its error; the item
// then holds only its place. The item is valid until fn returns. An error that ends a file ends each.
func (p *pass) each(s *source, fn func(n int, it *item, err error) bool) error {
	n := 0
	for i := range s.files {
		more, err := p.file(s, &s.files[i], &n, fn)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	return p.fatal
}

func (p *pass) file(s *source, f *file, n *int, fn func(n int, it *item, err error) bool) (bool, error) {
	r, in, err := f.reader(s, p)
	if err != nil {
		return false, err
	}
	if in != nil {
		defer in.close()
		p.current = &in.read
		defer func() { p.bytes += in.read; p.current = nil }()
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close() // it was only read, so there is no error to report
	}
	if p.opts.Expand != nil {
		r = &expanding{reader: r, source: s, make: p.opts.Expand}
	}
	for ; ; *n++ {
		if p.rows%checkEvery == 0 {
			if err := p.ctx.Err(); err != nil {
				return false, err
			}
			if p.rows > 0 && p.rows%(16*checkEvery) == 0 {
				p.report()
			}
		}
		err := r.next()
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		p.rows++
		if p.skip != nil && p.skip(*n) {
			continue
		}
		p.number = *n
		p.item = item{test: config.Test{Pos: r.at()}}
		err = r.decode(&p.item)
		if err == nil {
			err = s.label(&p.item)
		}
		if !fn(*n, &p.item, err) {
			return false, nil
		}
	}
}

func (p *pass) report() {
	if p.progress == nil {
		return
	}
	b := p.bytes
	if p.current != nil {
		b += *p.current
	}
	p.progress(p.rows, b, p.total)
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// isMistake tells what the user can mend in a file from everything else.
func isMistake(err error) bool {
	if _, ok := errors.AsType[*config.Error](err); ok {
		return true
	}
	_, ok := errors.AsType[config.Errors](err)
	return ok
}
