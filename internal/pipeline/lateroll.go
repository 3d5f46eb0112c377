package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// lateTries bounds how often roll-ups of late scores are made again because other workers added to them meanwhile.
const lateTries = 10

// sumLate counts scores that came apart from their exchanges, in roll-ups of their own. Unlike those of exchanges these are made
// anew from all that is stored of their window, under an ID that depends on nothing else: a batch that is processed again, a score
// that is sent again and an exchange that comes after its score all give the same. Of two workers the one that wrote last
// has looked after its writing, and so has seen what the other stored.
func (w *Worker) sumLate(ctx context.Context, j *job) error {
	ids := make([]string, 0, len(j.exchanges)+len(j.late))
	for i := range j.exchanges {
		ids = append(ids, j.exchanges[i].ID)
	}
	for i := range j.late {
		ids = append(ids, j.late[i].Exchange)
	}
	var put []record.Rollup
	for range lateTries {
		found, err := w.o.Store.LateScores(ctx, ids, Window)
		if err != nil {
			return err
		}
		made := rollUpLate(found)
		if slices.EqualFunc(made, put, func(a, b record.Rollup) bool { return a.ID == b.ID && maps.Equal(a.Counts, b.Counts) }) {
			return nil
		}
		if err := w.o.Store.PutRollups(ctx, made); err != nil {
			return err
		}
		put = made
	}
	return fmt.Errorf("roll-ups of late scores changed %d times while they were stored", lateTries)
}

// rollUpLate sums late scores up as telltale stats does: of an exchange that was given a score more than once the mean of its
// values counts, and none where it came with one itself; of judgements and errors the last. They have no segment, for it
// comes from a tag, which goes when the exchange's user is forgotten. The scores are in the order of their exchanges.
func rollUpLate(found []store.Scored) []record.Rollup {
	all := map[key]*sums{}
	for len(found) > 0 {
		n := 1
		for n < len(found) && found[n].Exchange == found[0].Exchange {
			n++
		}
		x := &found[0]
		for _, o := range lateMeans(found[:n]) {
			k := key{x.Route, x.Variant, x.Snapshot, "", windowOf(x.Time)}
			if all[k] == nil {
				all[k] = &sums{}
			}
			all[k].score(&o)
		}
		found = found[n:]
	}
	out := make([]record.Rollup, 0, len(all))
	for k, s := range all {
		out = append(out, record.Rollup{
			ID: "late-" + rollupID("", k), Route: k.route, Variant: k.variant, Snapshot: k.snapshot,
			Start: time.UnixMicro(k.window * Window.Microseconds()).UTC(), Length: Window.Seconds(), Counts: s.counts(),
		})
	}
	slices.SortFunc(out, func(a, b record.Rollup) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// lateMeans are the late scores of one exchange, one of each name.
func lateMeans(found []store.Scored) []record.OnlineScore {
	var out []record.OnlineScore
	values := map[string]int{}
	for i := range found {
		s := &found[i]
		if s.Had {
			continue
		}
		at := slices.IndexFunc(out, func(o record.OnlineScore) bool { return o.Name == s.Score.Name })
		if at < 0 {
			out = append(out, record.OnlineScore{Name: s.Score.Name})
			at = len(out) - 1
		}
		o := &out[at]
		if s.Score.Value == nil && s.Score.Pass == nil {
			if o.Value == nil && o.Pass == nil {
				o.Error = s.Score.Error
			}
			continue
		}
		o.Error = ""
		o.Inclusion = s.Score.Inclusion
		if s.Score.Pass != nil {
			o.Pass = s.Score.Pass
		}
		if s.Score.Value != nil {
			values[o.Name]++
			mean := *s.Score.Value
			if o.Value != nil {
				mean = *o.Value + (mean-*o.Value)/float64(values[o.Name])
			}
			o.Value = &mean
		}
	}
	return out
}
