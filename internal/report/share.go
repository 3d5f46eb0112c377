package report

import (
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// What package view shows of unfinished runs looks and reads like the reports.

// Style is the style sheet of the pages.
func Style() string { return pageStyle }

// SourceHash is a content security policy's name for an inline style sheet or script.
func SourceHash(text string) string { return sourceHash(text) }

// Rate is a pass rate in words: "no data" where nothing was judged.
type Rate struct {
	Value    string `json:"value"`
	Interval string `json:"interval"` // 95%, Wilson, for samples taken as independent
	Count    string `json:"count"`    // passed/judged
}

// Rate is the share of the judged samples that passed.
func (t Tally) Rate() Rate {
	r := tallyRow(t)
	return Rate{r.value, r.interval, r.count}
}

// Add counts one sample.
func (t *Tally) Add(v verdict.Verdict) { t.add(v) }

// Sub takes back one sample that was counted before.
func (t *Tally) Sub(v verdict.Verdict) {
	switch v {
	case verdict.Pass:
		t.Passed--
	case verdict.Fail:
		t.Failed--
	case verdict.Error:
		t.Errored--
	default:
		t.Undecided--
	}
}

// Why is the most telling reason why s is not a pass, on one line of at most n runes; "" for a pass.
func Why(s *record.Sample, n int) string {
	why := reasons(s)
	if len(why) == 0 {
		return ""
	}
	return oneLine(why[0], n)
}

// Reasons says why s is not a pass, most telling first; nothing for a pass.
func Reasons(s *record.Sample) []string { return reasons(s) }

// Line puts text of a model's making on one line of at most n runes.
func Line(s string, n int) string { return oneLine(s, n) }

// Word is the verdict as a headline says it.
func Word(v verdict.Verdict) string { return word(v) }

// Mark is a sign that tells verdicts apart without colour.
func Mark(v verdict.Verdict) string { return mark(v) }

// Seconds writes a time span in the unit a reader would choose.
func Seconds(x float64) string { return seconds(x) }

// Dollars writes a sum with cents, or with two significant digits below a cent.
func Dollars(x float64) string { return dollars(x) }

// Count writes n with commas.
func Count(n int) string { return count(n) }

// PassRate is the run's own pass rate, or one made of its counts.
func PassRate(run *record.Run) Rate {
	r := overall(run)
	return Rate{r.value, r.interval, r.count}
}

// Name is what a reader would call the run's suite.
func Name(run *record.Run) string { return oneLine(suiteName(run), keepName) }
