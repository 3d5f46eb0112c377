package report

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// newPage formats everything that the template shows.
func newPage(src Source) *page {
	run, d := src.Run, src.Digest
	g := run.Gate
	p := &page{
		Policy: "default-src 'none'; style-src " + sourceHash(pageStyle) + "; script-src " + sourceHash(pageScript) +
			"; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Title: word(g.Verdict) + ": " + oneLine(suiteName(run), keepName), Suite: suiteName(run), Path: run.Suite.Path,
		Verdict: newBadge(g.Verdict), Reason: reasonOf(g.Decision), Deciding: deciding(run, g.Decision),
		Notices: notices(src), Warnings: run.Warnings[:min(len(run.Warnings), htmlReasons)],
		Bar: verdictBar(d.all), Multi: len(d.combos.list) > 1, Repeated: run.Repeats > 1, Total: d.all.Total(),
	}
	if p.Path == p.Suite {
		p.Path = ""
	}
	var ids []string
	p.Critical, ids = criticals(run.Summary)
	p.CriticalCases = ids[:min(len(ids), htmlReasons)]
	p.CriticalMore = len(ids) - len(p.CriticalCases)
	p.tiles(run)
	for _, v := range []verdict.Verdict{verdict.Pass, verdict.Fail, verdict.Error, verdict.Undecided} {
		n := d.all.of(v)
		share := noData
		if total := d.all.Total(); total > 0 {
			share = percent(float64(n) / float64(total))
		}
		p.Legend = append(p.Legend, legend{newBadge(v), count(n), share})
	}
	for _, c := range g.Checks {
		p.Checks = append(p.Checks, checkView{newBadge(c.Verdict), checkName(c), decidingValue(run, c), c.Want, reasonOf(c)})
	}
	p.Looks = lookLines(run)
	if run.Comparison != nil {
		v := newComparisonView(run.Comparison)
		p.Comparison = &v
	}
	p.Flaky = newFlakyPage(run)
	p.metrics(run)
	p.calibration(run)
	p.plots(d)
	p.slices(run, d)
	p.costs(d)
	for _, e := range errorReasons(run.Summary) {
		if len(p.Errors) == htmlReasons {
			p.ErrorsMore++
			continue
		}
		p.Errors = append(p.Errors, errorView{count(e.n), clip(e.reason, keptTexts.reason)})
	}
	p.rows(run, d)
	p.provenance(run)
	return p
}

func (p *page) tiles(run *record.Run) {
	s := run.Summary
	rate := overall(run)
	t := tile{Label: "Pass rate", Value: rate.value, Class: "wide"}
	if rate.hasData() {
		t.Note = missing(rate.count+", 95% "+rate.interval, rate.Missing)
	} else {
		t.Note = missing("nothing was judged", rate.Missing)
	}
	total, parts := tokens(s.Tokens)
	price, note := cost(s)
	took, speed := elapsed(run.Times)
	samples := "of " + count(s.Planned) + " planned"
	if s.Cached > 0 {
		samples += ", " + count(s.Cached) + " from the cache"
	}
	p.Tiles = []tile{t,
		{Label: "Samples", Value: count(s.Finished), Note: samples},
		{Label: "Time", Value: took, Note: speed},
		{Label: "Tokens", Value: total, Note: parts},
		{Label: "Cost", Value: price, Note: note},
	}
	if total, note := judging(s); total != "" {
		p.Tiles = append(p.Tiles, tile{Label: "Judging", Value: total, Note: note})
	}
}

func newMetricView(m metricRow) metricView {
	v := metricView{Name: m.name, Title: m.name, Kind: m.Kind, Value: m.value, Interval: sameUnit(m.value, m.interval), Count: m.count, NoData: !m.hasData(),
		Quantiles: m.quantiles(), Signature: m.Signature, Plot: whisker(m)}
	if m.Missing > 0 {
		v.Missing = count(m.Missing)
	}
	return v
}

func (p *page) metrics(run *record.Run) {
	lims := limits(run)
	for _, m := range metricRows(run.Metrics, lims) {
		if len(p.Metrics) == htmlMetrics {
			p.MetricsMore++
			continue
		}
		p.Metrics = append(p.Metrics, newMetricView(m))
		p.Limits = p.Limits || len(m.thresholds) > 0 && m.hasData()
		p.OwnScale = p.OwnScale || m.hasData() && !m.share && !m.unit01
	}
	if len(run.BySnapshot) < 2 {
		return
	}
	for _, s := range run.Snapshots {
		metrics, ok := run.BySnapshot[s.ID]
		if !ok {
			continue
		}
		sm := snapshotMetrics{Name: snapshotName(run, s.ID), ID: s.ID}
		for _, m := range metricRows(metrics, lims) {
			if len(sm.Metrics) < htmlMetrics {
				sm.Metrics = append(sm.Metrics, newMetricView(m))
			}
		}
		p.BySnapshot = append(p.BySnapshot, sm)
	}
}

func (p *page) plots(d *Digest) {
	p.Scores, p.Latency = scoreHistogram(d), latencyHistogram(d)
	p.SpreadsMore = d.moreScore || len(d.spreads) > htmlSpreads
	for _, s := range d.spreads[:min(len(d.spreads), htmlSpreads)] {
		v := spreadView{Name: short(s.name), Plot: spreadHistogram(s), Measured: !s.judged()}
		v.Note = "n = " + count(s.n) + ", mean " + number(s.sum/float64(s.n)) + ", " + number(s.min) + " to " + number(s.max)
		p.Spreads = append(p.Spreads, v)
	}
	if d.scored > 0 {
		p.ScoreNote = "Weighted score of each sample, n = " + count(d.scored)
		if n := d.all.Total() - d.scored; n > 0 {
			p.ScoreNote += ", " + count(n) + " without a score"
		}
	}
	if d.timed > 0 {
		var qs []string
		for _, q := range latencyQuantiles {
			qs = append(qs, q.name+" ≈ "+seconds(d.quantile(q.at)))
		}
		p.LatencyNote = strings.Join(qs, " · ") + " · longest " + seconds(d.maxTime) + ", n = " + count(d.timed)
		if d.untimed > 0 {
			p.LatencyNote += ", " + count(d.untimed) + " from the cache left out"
		}
	}
}

func (p *page) slices(run *record.Run, d *Digest) {
	list := byCombo(d)
	for _, c := range list[:min(len(list), htmlMetrics)] {
		v := newMetricView(c.row)
		v.Name, v.Title = c.name, c.title
		p.Combos = append(p.Combos, v)
	}
	for _, c := range d.combos.list {
		p.ComboNames = append(p.ComboNames, comboName(c.key, d))
	}
	for _, t := range tagRates(run, d, htmlTags) {
		v := newMetricView(t.row)
		v.Name, v.Title = t.name, t.title
		p.Tags = append(p.Tags, v)
		if metrics := run.ByTag[t.title]; len(metrics) > 1 {
			sm := snapshotMetrics{Name: t.name}
			rows := metricRows(metrics, nil)
			for _, m := range rows[:min(len(rows), htmlTags)] {
				sm.Metrics = append(sm.Metrics, newMetricView(m))
			}
			p.ByTag = append(p.ByTag, sm)
		}
	}
	switch n := max(len(d.tags.list), len(run.ByTag)); {
	case len(run.ByTag) > 0 && n > len(p.Tags):
		p.TagNote = fmt.Sprintf("The %d most frequent of %s tags; run.json has the metrics of %s.", len(p.Tags), count(n), count(len(run.ByTag)))
	case d.moreTag:
		p.TagNote = fmt.Sprintf("The %d most frequent of the first %s tags; there are more.", len(p.Tags), count(n))
	case n > len(p.Tags):
		p.TagNote = fmt.Sprintf("The %d most frequent of %s tags.", len(p.Tags), count(n))
	}
	for _, g := range byGroup(d, htmlGroups) {
		v := newMetricView(g.row)
		v.Name, v.Title = g.name, g.title
		p.Groups = append(p.Groups, v)
	}
	switch n := len(d.clusters.list); {
	case d.moreGroup:
		p.GroupNote = fmt.Sprintf("The %d worst of the first %s groups; there are more.", len(p.Groups), count(n))
	case n > len(p.Groups):
		p.GroupNote = fmt.Sprintf("The %d worst of %s groups.", len(p.Groups), count(n))
	}
}

// costs shows what each provider with each prompt used, when any of it is known.
func (p *page) costs(d *Digest) {
	known := false
	for i, s := range d.spent {
		c := d.combos.list[i]
		known = known || s.priced > 0 || s.prompt+s.completion > 0 || s.judging > 0
		p.Judging = p.Judging || s.judging > 0
		if i >= htmlMetrics {
			continue
		}
		v := costView{Name: comboName(c.key, d), Title: c.key.provider + " · " + c.key.prompt, Samples: count(c.Total()),
			Prompt: counted(s.prompt), Completion: counted(s.completion), Judging: dollars(s.judging), Cost: "unknown"}
		if s.priced > 0 {
			v.Cost = dollars(s.cost)
			v.Each = dollars((s.cost + s.judging) / float64(s.priced))
			if s.unpriced > 0 {
				v.Cost, v.Each = "≥ "+v.Cost, ""
				v.Note = count(s.unpriced) + " without a price"
			} else if c.Passed > 0 {
				v.Pass = dollars((s.cost + s.judging) / float64(c.Passed))
			}
		}
		if s.cached > 0 {
			v.Note = strings.TrimPrefix(v.Note+", "+count(s.cached)+" from the cache", ", ")
		}
		p.Costs = append(p.Costs, v)
	}
	if !known {
		p.Costs = nil
	}
}

// counted is a number of tokens, or nothing when none were reported.
func counted(n int) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

func (p *page) rows(run *record.Run, d *Digest) {
	for _, v := range order {
		for _, r := range d.kept.of(v) {
			p.Rows = append(p.Rows, newRowView(run, d, r))
		}
		p.Filters = append(p.Filters, filter{newBadge(v), count(d.all.of(v))})
	}
	p.Showing = fmt.Sprintf("%s of %s samples. A browser with scripts shows more of them; all are in %s.", count(len(p.Rows)), count(d.all.Total()), samplesFile)
	if len(p.Rows) == d.all.Total() {
		p.Showing = fmt.Sprintf("All %s samples; texts may be clipped, whole ones are in %s.", count(len(p.Rows)), samplesFile)
	}
}

func newRowView(run *record.Run, d *Digest, r *row) rowView {
	v := rowView{badge: newBadge(r.verdict), Name: caseName(run, r.id, r.repeat), Combo: comboName(r.combo, d), Critical: r.critical, Held: r.held,
		Tags: r.tags, Reasons: r.why, Input: r.input, Vars: r.vars, Output: r.output, Refusal: r.refusal, Error: r.fault, MoreScores: r.moreScores,
		Turns: r.turns, Calls: r.calls, Raw: r.raw, Expected: r.expected}
	if len(r.why) > 0 {
		v.Why = oneLine(r.why[0], rowWhy)
	} else {
		v.Why = oneLine(r.output, rowWhy)
	}
	if r.score != nil {
		v.Score = number(*r.score)
	}
	add := func(name, value string) {
		if value != "" {
			v.Facts = append(v.Facts, fact{name, value})
		}
	}
	add("sample", count(r.index))
	add("description", r.about)
	add("group", r.group)
	add("model", r.model)
	add("finish reason", r.finish)
	if r.latency != nil {
		v.Latency = seconds(*r.latency)
		add("latency", v.Latency)
	}
	if r.ttft != nil {
		add("first token", seconds(*r.ttft))
	}
	if r.usage != nil {
		add("tokens", noted(tokens(*r.usage)))
	}
	if r.cost != nil {
		add("cost", dollars(*r.cost))
	}
	if r.judging > 0 {
		add("judging", dollars(r.judging))
	}
	if r.cached {
		add("answer", "from the cache")
	}
	if r.retries > 0 {
		add("retries", count(r.retries))
	}
	for i := range r.scores {
		v.Scores = append(v.Scores, newScoreView(&r.scores[i]))
	}
	return v
}

func newScoreView(s *rowScore) scoreView {
	v := scoreView{badge: newBadge(s.verdict), Name: s.name, Reason: s.reason, Detail: s.detail, Instructions: s.instructions, Depth: s.depth}
	if s.kind != s.name {
		v.Type = s.kind
	}
	if s.verdict == verdict.Undecided {
		v.badge = badge{"measured", "·", "measured"}
	}
	if s.ignored {
		v.Word += ", weight 0"
	}
	if s.value != nil {
		v.Value = number(*s.value)
	}
	return v
}

func (p *page) provenance(run *record.Run) {
	p.Facts = []fact{
		{"Run", run.ID},
		{"Suite", strings.TrimSpace(run.Suite.Path + "  " + run.Suite.Hash)},
		{"Dataset", fmt.Sprintf("%s, %s of %s cases", run.Dataset.Hash, count(run.Dataset.Cases), count(run.Dataset.Rows))},
		{"Seed", fmt.Sprint(run.Seed)},
		{"Answers per case", fmt.Sprint(run.Repeats)},
		{"telltale", run.Telltale},
		{"Started", stamp(run.Times.Started)},
		{"Finished", stamp(run.Times.Finished)},
	}
	for _, s := range run.Snapshots {
		v := snapshotView{ID: s.ID, Provider: s.Provider, Model: s.Model, Prompt: s.Prompt, Fingerprints: strings.Join(s.Fingerprints, ", "),
			Template: clip(s.Template, htmlTemplate)}
		if len(s.Params) > 0 {
			v.Params = clip(pretty(s.Params), htmlTemplate)
		}
		p.Snapshots = append(p.Snapshots, v)
	}
	for _, name := range sortedKeys(run.Scorers) {
		p.Scorers = append(p.Scorers, fact{name, run.Scorers[name]})
	}
}
