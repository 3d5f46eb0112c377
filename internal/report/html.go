package report

import (
	"crypto/sha256"
	_ "embed" // the page's parts
	"encoding/base64"
	"fmt"
	"html/template"
	"io"

	"github.com/telltale-llm/telltale/internal/verdict"
)

//go:embed assets/report.html.tmpl
var pageTemplate string

//go:embed assets/report.css
var pageStyle string

//go:embed assets/data.js
var dataScript string

//go:embed assets/diff.js
var diffScript string

//go:embed assets/detail.js
var detailScript string

//go:embed assets/list.js
var listScript string

// pageScript is the page's one script, a function around all its parts.
var pageScript = "(function () {\n\"use strict\";\n" + dataScript + diffScript + detailScript + listScript + "}());\n"

// How much of what has no bound of its own the page shows.
const (
	htmlTags     = 40
	htmlGroups   = 12
	htmlSpreads  = 24
	htmlMetrics  = 300
	htmlReasons  = 50
	htmlTemplate = 8000 // bytes of a prompt template
)

// HTML writes report.html: one file that loads nothing. Its policy allows the style sheet and the
// script in it by their hashes and nothing else, so that even text that got past the escaping
// could not run or call home.
//
// The first samples of interest are plain HTML, for browsers without scripts. All of them, within
// the bounds in embed.go, follow as data, from which the script makes a list that is searched,
// filtered and compared. Without Source.Samples there is no data.
func HTML(w io.Writer, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	t, err := pages()
	if err != nil {
		return err
	}
	p := newPage(src)
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("report: html: %w", err)
	}
	if src.Samples != nil {
		if err := embed(w, src, pageBounds); err != nil {
			return fmt.Errorf("report: html: %w", err)
		}
	}
	if err := t.ExecuteTemplate(w, "end", p); err != nil {
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
	Looks                  []string
	Comparison             *comparisonView // with the baseline; nil without one
	Flaky                  flakyPage
	Metrics                []metricView
	MetricsMore            int
	Curves                 []curveView
	CurvesMore             int
	OwnScale, Limits       bool
	BySnapshot, ByTag      []snapshotMetrics
	Scores, Latency        template.HTML
	ScoreNote, LatencyNote string
	Spreads                []spreadView
	SpreadsMore            bool
	Combos, Tags, Groups   []metricView
	TagNote, GroupNote     string
	Costs                  []costView
	Judging                bool
	Errors                 []errorView
	ErrorsMore             int
	Rows                   []rowView
	Showing                string
	Filters                []filter
	ComboNames             []string // of every combination, in the order of the data
	Multi, Repeated        bool
	Total                  int
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

// spreadView is the histogram of one score's values.
type spreadView struct {
	Name, Note string
	Measured   bool
	Plot       template.HTML
}

// costView is what one provider with one prompt used.
type costView struct {
	Name, Title, Samples, Prompt, Completion, Cost, Note, Judging, Each, Pass string
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
	Critical, Held                   bool
	Tags, Reasons                    []string
	Input, Vars, Output, Refusal     string
	Turns, Calls, Raw                string
	Expected                         []expected
	Error                            string
	Facts                            []fact
	Scores                           []scoreView
	MoreScores                       int
}

type scoreView struct {
	badge
	Name, Type, Value, Reason, Detail string
	Instructions                      []instruction
	Depth                             int
}

func newBadge(v verdict.Verdict) badge { return badge{v.String(), mark(v), word(v)} }

// sourceHash is a content security policy's name for an inline text.
func sourceHash(text string) string {
	h := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(h[:]) + "'"
}
