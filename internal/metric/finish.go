package metric

import (
	"fmt"
	"math"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Finish returns the account of the samples added so far against the plan. It leaves the
// Aggregator as it was, so that it may be called again after more samples.
func (a *Aggregator) Finish(p Plan) (Result, error) {
	if len(p.Samples) != len(a.parts) {
		return Result{}, fmt.Errorf("metric: a plan of %d snapshots for a run of %d", len(p.Samples), len(a.parts))
	}
	var r Result
	found := a.problems.clone()
	planned := 0
	for i, sc := range a.parts {
		if p.Samples[i] < sc.samples {
			return Result{}, fmt.Errorf("metric: %d samples of snapshot %d, of which %d were planned", sc.samples, i, p.Samples[i])
		}
		planned += p.Samples[i]
		r.Snapshots = append(r.Snapshots, a.metrics(found, sc, p.Samples[i]-sc.samples))
	}
	if a.whole != nil {
		r.Metrics = a.metrics(found, a.whole, planned-a.whole.samples)
	} else {
		r.Metrics = a.metrics(found, a.parts[0], planned-a.parts[0].samples)
	}
	a.finishTags(p, &r)
	r.Summary = a.summary.finish(planned, p.Critical, p.Quarantined)
	r.Problems = found.list()
	return r, nil
}

// metrics publishes a scope of which so many samples were never finished.
func (a *Aggregator) metrics(found *problems, sc *scope, unfinished int) map[string]record.Metric {
	out := map[string]record.Metric{}
	for i := range builtins {
		b := &builtins[i]
		s := &sc.builtin[i]
		bounded := i == score
		m := a.publish(found, s, b.name, b.kind, builtinUnitOf[i], bounded, s.missing+unfinished)
		m.Signature = b.name + builtinVersion
		if m.N > 0 || b.always {
			out[b.name] = m
		}
	}
	owned := make([]bool, len(a.ownerOf))
	for id := range a.defs {
		d := &a.defs[id]
		s := &series{perSample: 1}
		if id < len(sc.series) && sc.series[id] != nil {
			s = sc.series[id]
		}
		missing := s.missing + (sc.unknown+unfinished)*max(1, s.perSample)
		for _, o := range d.owners {
			owned[o] = true
			missing += sc.absentOf(o)
		}
		bounded := a.opts.Bounded != nil && a.opts.Bounded(d.key)
		m := a.publish(found, s, d.name, d.kind, d.unit, bounded, missing)
		m.Signature = a.signature(d.key, d.owners)
		if m.N > 0 || m.Missing > 0 {
			out[d.name] = m
		}
	}
	// A score that never gave a number has no metric to be missing from: it gets one of its own.
	for o, name := range a.ownerOf {
		missing := sc.absentOf(o) + sc.unknown + unfinished
		if _, taken := out[published(name)]; owned[o] || taken || missing == 0 {
			continue
		}
		out[published(name)] = record.Metric{Missing: missing, Signature: a.signature(name, []int{o})}
	}
	return out
}

func (sc *scope) absentOf(owner int) int {
	if owner < len(sc.absent) {
		return sc.absent[owner]
	}
	return 0
}

func (a *Aggregator) publish(found *problems, s *series, name, kind, unit string, bounded bool, missing int) record.Metric {
	r := s.est.Ratio()
	m := record.Metric{Kind: kind, N: r.N(), Clusters: r.Clusters(), Missing: missing, Unit: unit}
	if corpus, ok := strings.CutPrefix(kind, corpusName); ok {
		m.Kind = kindCorpus
		a.finishCorpus(found, &m, s, name, corpus)
		return m
	}
	if m.N == 0 {
		return m
	}
	v, ok := r.Value()
	if !ok {
		found.add(name, "the sums left the range of numbers", "the whole")
		return m
	}
	m.Mean = &v
	if se, ok := r.SE(); ok {
		m.Stderr = &se
	}
	if kind != kindMean || unit == builtinUnits[record.MetricCost] || unit == builtinUnits[record.MetricTokensPrompt] {
		m.Count = ptr(r.Y())
	}
	switch kind {
	case kindRate:
		a.finishRate(&m, &r)
	case kindRatio:
		m.N = int(math.Round(r.W()))
		a.finishBounded(&m, &r, !s.fractional, float64(missing)*s.maxWeight)
	default:
		a.finishBounded(&m, &r, bounded && !s.outside, float64(missing))
		if s.quantiles.N() > 0 && !s.negative {
			m.Quantiles = quantiles(&s.quantiles)
		}
	}
	return m
}

// finishRate sets the interval of a rate, on the effective number of trials when they are clustered.
func (a *Aggregator) finishRate(m *record.Metric, r *stats.Ratio) {
	n := float64(m.N)
	if m.Clusters < m.N {
		se, _ := r.ClusteredSE()
		n = stats.EffectiveTrials(*m.Mean, se, m.N, m.Clusters, stats.Level)
		if a.opts.Exact {
			n = math.Min(n, r.LeastTrials()) // the spread that few clusters show may be too small
		}
		if n < float64(m.N) {
			m.Effective = ptr(n)
		}
	}
	if i, ok := a.share(m, n); ok {
		setInterval(m, i)
	}
	setBounds(m, r, float64(m.Missing))
}

// share is the interval of a share that was seen in n trials.
func (a *Aggregator) share(m *record.Metric, n float64) (stats.Interval, bool) {
	if !a.opts.Exact {
		return stats.Wilson(*m.Mean*n, n, stats.Level)
	}
	i, ok := stats.ClopperPearson(*m.Mean*n, n, stats.Level)
	if ok {
		m.Interval = record.IntervalExact
	}
	return i, ok
}

// finishBounded sets the t interval. Values known to lie within 0 to 1 spread no more than a rate
// does: when all clusters agree, the interval of a share with a trial for each cluster stands in for the spread that
// was not seen. missing is the weight of what is missing, for a ratio at the largest weight seen.
func (a *Aggregator) finishBounded(m *record.Metric, r *stats.Ratio, bounded bool, missing float64) {
	i, ok := r.Interval(stats.Level)
	if !bounded {
		if ok {
			setInterval(m, i)
		}
		return
	}
	if !ok && m.Clusters > 1 {
		i, ok = a.share(m, float64(m.Clusters))
	}
	if ok {
		setInterval(m, i.Clip(0, 1))
	}
	setBounds(m, r, missing)
}

// setBounds sets what the mean would be if everything missing were 0, and if it were 1.
func setBounds(m *record.Metric, r *stats.Ratio, missing float64) {
	if missing > 0 {
		all := r.W() + missing
		m.Least, m.Most = ptr(r.Y()/all), ptr((r.Y()+missing)/all)
	}
}

func (a *Aggregator) finishCorpus(found *problems, m *record.Metric, s *series, name, finisher string) {
	if m.N == 0 || s.corpus == nil {
		return
	}
	var f func([]float64) float64
	ok := false
	if a.opts.Finishers != nil {
		f, ok = a.opts.Finishers(finisher)
	}
	if !ok {
		found.add(name, "no way is known to finish a corpus metric "+finisher, "the whole")
		return
	}
	v := f(s.corpus.jack.Total())
	if !stats.Finite(v) {
		found.add(name, "the corpus number is not finite", "the whole")
		return
	}
	m.Mean = &v
	if a.opts.Scale != nil {
		if smooth, reach, bend, ok := a.opts.Scale(finisher); ok {
			s.corpus.finishBent(m, smooth, reach, bend)
			return
		}
	}
	se, groups, ok := s.corpus.jack.SE(f)
	if !ok {
		return
	}
	m.Stderr = &se
	if se > 0 { // groups that agree to the last digit vouch for nothing
		half := stats.StudentQuantile(stats.Level, float64(groups-1)) * se
		setInterval(m, stats.Interval{Low: v - half, High: v + half})
	}
}

// finishBent sets the interval of a metric that is bent from a smooth quantity; it has no standard error of its own.
// What the jackknife does not see is taken to be larger by as much as there are more observations than clusters. The
// upper end goes out from 0 where the estimate is below, and is no lower than what reach says.
func (k *corpus) finishBent(m *record.Metric, smooth func([]float64) float64, reach func([]float64, float64) (spread, upper float64), bend func(float64) float64) {
	total := k.jack.Total()
	v := smooth(total)
	unseen, upper := reach(total, float64(m.Clusters)/float64(m.N))
	se, groups, ok := k.jack.SE(smooth)
	if !ok || !stats.Finite(v) || !stats.Finite(unseen) || !stats.Finite(upper) {
		return
	}
	se = math.Hypot(se, unseen)
	if se > 0 {
		half := stats.StudentQuantile(stats.Level, float64(groups-1)) * se
		setInterval(m, stats.Interval{Low: bend(v - half), High: bend(math.Max(math.Max(0, v)+half, upper))})
	}
}

func quantiles(q *stats.Quantiles) map[string]*float64 {
	out := map[string]*float64{}
	for name, p := range map[string]float64{"p50": 0.50, "p95": 0.95, "p99": 0.99} {
		if x, ok := q.At(p); ok {
			out[name] = &x
		}
	}
	return out
}

func ptr(x float64) *float64 { return &x }

// setInterval sets the interval. A quantity in a unit, such as seconds or tokens, is not below 0, and
// neither is its mean; one that is made of probabilities is not above 1 either.
func setInterval(m *record.Metric, i stats.Interval) {
	switch m.Unit {
	case "probability", "probability²", "confidence":
		i.High = math.Min(i.High, 1)
	}
	if m.Unit != "" && i.Low < 0 && m.Mean != nil && *m.Mean >= 0 {
		i.Low = 0
	}
	m.Low, m.High = &i.Low, &i.High
}
