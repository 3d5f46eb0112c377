package report

import (
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

//go:embed assets/report.html.tmpl
var pageTemplate string

//go:embed assets/report.css
var pageStyle string

//go:embed assets/report.js
var pageScript string

// How much of what has no bound of its own the page shows.
const (
	htmlTags     = 40
	htmlMetrics  = 300
	htmlReasons  = 50
	htmlTemplate = 8000 // bytes of a prompt template
)

// HTML writes report.html: one file that loads nothing. Its policy allows the style sheet and the
// script in it by their hashes and nothing else, so that even text that got past the escaping
// could not run or call home. It works without the script too, except for filtering.
func HTML(w io.Writer, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	t, err := template.New("report").Parse(pageTemplate)
	if err != nil {
		return fmt.Errorf("report: html: %w", err)
	}
	if err := t.Execute(w, newPage(src)); err != nil {
		return fmt.Errorf("report: html: %w", err)
	}
	return nil
}

// page is what the template shows. All numbers are formatted; all other strings are as hostile as
// they came, and escaped by html/template.
type page struct {
	Policy string
	Style  template.CSS
	Script template.JS

	Title, Suite, Path     string
	Verdict                badge
	Reason, Deciding       string
	Notices, Warnings      []string
	Critical               string
	CriticalCases          []string
	CriticalMore           int
	Tiles                  []tile
	Bar                    template.HTML
	Legend                 []legend
	Checks                 []checkView
	Metrics                []metricView
	MetricsMore            int
	OwnScale, Limits       bool
	BySnapshot             []snapshotMetrics
	Scores, Latency        template.HTML
	ScoreNote, LatencyNote string
	Combos, Tags           []metricView
	TagNote                string
	Errors                 []errorView
	ErrorsMore             int
	Rows                   []rowView
	Showing                string
	Filters                []filter
	ComboNames             []string
	Multi                  bool
	Facts                  []fact
	Snapshots              []snapshotView
	Scorers                []fact
}

// badge is a verdict as the page marks it: by class, sign and word.
type badge struct{ Class, Mark, Word string }

type tile struct{ Label, Value, Note, Class string }

type legend struct {
	badge
	N, Share string
}

type checkView struct {
	badge
	Metric, Value, Want, Reason string
}

type metricView struct {
	Name, Title, Kind, Value, Interval, Count, Missing, Quantiles, Signature string
	NoData                                                                   bool
	Plot                                                                     template.HTML
}

type snapshotMetrics struct {
	Name, ID string
	Metrics  []metricView
}

type errorView struct{ N, Reason string }

type filter struct {
	badge
	N string
}

type fact struct{ Name, Value string }

type snapshotView struct {
	ID, Provider, Model, Prompt, Fingerprints, Params, Template string
}

type rowView struct {
	badge
	Name, Combo, Why, Score, Latency string
	Critical                         bool
	Tags, Reasons                    []string
	Input, Vars, Output, Refusal     string
	Error                            string
	Facts                            []fact
	Scores                           []scoreView
	MoreScores                       int
}

type scoreView struct {
	badge
	Name, Type, Value, Reason, Detail string
	Instructions                      []instruction
}

func newBadge(v verdict.Verdict) badge { return badge{v.String(), mark(v), word(v)} }

// sourceHash is a content security policy's name for an inline text.
func sourceHash(text string) string {
	h := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"
}

func newPage(src Source) *page {
	run, d := src.Run, src.Digest
	g := run.Gate
	p := &page{
		Policy: "default-src 'none'; style-src " + sourceHash(pageStyle) + "; script-src " + sourceHash(pageScript) +
			"; base-uri 'none'; form-action 'none'",
		Style: template.CSS(pageStyle), Script: template.JS(pageScript),
		Title: word(g.Verdict) + ": " + oneLine(suiteName(run), keepName), Suite: suiteName(run), Path: run.Suite.Path,
		Verdict: newBadge(g.Verdict), Reason: reasonOf(g.Decision), Deciding: deciding(run, g.Decision),
		Notices: notices(src), Warnings: run.Warnings[:min(len(run.Warnings), htmlReasons)],
		Bar: verdictBar(d.all), Multi: len(d.combos.list) > 1,
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
	p.metrics(run)
	p.plots(d)
	p.slices(d)
	for _, e := range errorReasons(run.Summary) {
		if len(p.Errors) == htmlReasons {
			p.ErrorsMore++
			continue
		}
		p.Errors = append(p.Errors, errorView{count(e.n), clip(e.reason, keepReason)})
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
}

func newMetricView(m metricRow) metricView {
	v := metricView{Name: m.name, Title: m.name, Kind: m.Kind, Value: m.value, Interval: m.interval, Count: m.count, NoData: !m.hasData(),
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

func (p *page) slices(d *Digest) {
	list := byCombo(d)
	for _, c := range list[:min(len(list), htmlMetrics)] {
		v := newMetricView(c.row)
		v.Name, v.Title = c.name, c.title
		p.Combos = append(p.Combos, v)
		p.ComboNames = append(p.ComboNames, c.name)
	}
	for _, t := range byTag(d, htmlTags) {
		v := newMetricView(t.row)
		v.Name, v.Title = t.name, t.title
		p.Tags = append(p.Tags, v)
	}
	switch n := len(d.tags.list); {
	case d.moreTag:
		p.TagNote = fmt.Sprintf("The %d most frequent of the first %s tags; there are more.", len(p.Tags), count(n))
	case n > len(p.Tags):
		p.TagNote = fmt.Sprintf("The %d most frequent of %s tags.", len(p.Tags), count(n))
	}
}

func (p *page) rows(run *record.Run, d *Digest) {
	for _, v := range order {
		for _, r := range d.kept.of(v) {
			p.Rows = append(p.Rows, newRowView(run, d, r))
		}
		p.Filters = append(p.Filters, filter{newBadge(v), count(len(d.kept.of(v)))})
	}
	p.Showing = fmt.Sprintf("Showing %s of %s; all are in %s.", count(len(p.Rows)), count(d.all.Total()), samplesFile)
	if len(p.Rows) == d.all.Total() {
		p.Showing = fmt.Sprintf("All %s samples; texts may be clipped, whole ones are in %s.", count(len(p.Rows)), samplesFile)
	}
}

func newRowView(run *record.Run, d *Digest, r *row) rowView {
	v := rowView{badge: newBadge(r.verdict), Name: caseName(run, r.id, r.repeat), Combo: comboName(r.combo, d), Critical: r.critical,
		Tags: r.tags, Reasons: r.why, Input: r.input, Vars: r.vars, Output: r.output, Refusal: r.refusal, Error: r.fault, MoreScores: r.moreScores}
	if len(r.why) > 0 {
		v.Why = oneLine(r.why[0], 220)
	} else {
		v.Why = oneLine(r.output, 220)
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
	v := scoreView{badge: newBadge(s.verdict), Name: s.name, Reason: s.reason, Detail: s.detail, Instructions: s.instructions}
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
