// Package audit says how far a judge can be trusted: how well its verdicts agree with people's labels.
//
// Votes are what people and the judge said of the same items, as texts; Measure makes a Judge of them, the numbers
// of an audit file; Drift compares two of those. It reads no labels from files and asks no judge: package app does
// the one and a run the other.
package audit

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/stats"
)

// Votes are what was said of one item. Labels are texts; an empty one is no label.
type Votes struct {
	Item   string
	Humans []string
	// Judge holds the judge's verdicts, one for each time that it was asked; Invalid says of each that it was no verdict.
	Judge   []string
	Invalid []bool
	// Swapped are verdicts with the answers in the other order, turned back so that equal labels agree.
	Swapped []string
}

// Share is k of n with its 95% Wilson interval.
type Share struct {
	K    int     `json:"k"`
	N    int     `json:"n"`
	Rate float64 `json:"rate"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

func share(k, n int) *Share {
	i, ok := stats.Wilson(float64(k), float64(n), stats.Level)
	if !ok {
		return nil
	}
	return &Share{k, n, float64(k) / float64(n), i.Low, i.High}
}

// Coefficient is an agreement beyond chance with its 95% interval, which is left out when no spread was seen.
type Coefficient struct {
	Value float64  `json:"value"`
	SE    float64  `json:"se"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
	Items int      `json:"items"`
}

func coefficient(a stats.Agreement, ok bool) *Coefficient {
	if !ok {
		return nil
	}
	c := &Coefficient{Value: a.Value, SE: a.SE, Items: a.Items}
	if i, ok := a.Interval(stats.Level); ok {
		c.Low, c.High = &i.Low, &i.High
	}
	return c
}

// Pair is Cohen's kappa of two people.
type Pair struct {
	A     string       `json:"a"`
	B     string       `json:"b"`
	Kappa *Coefficient `json:"kappa"`
}

// Humans is how far people agree with one another: what a judge can be expected to reach.
type Humans struct {
	Names  []string     `json:"names"`
	Pairs  []Pair       `json:"pairs,omitempty"`
	Fleiss *Coefficient `json:"fleiss,omitempty"`
	Alpha  *Coefficient `json:"alpha,omitempty"`
	AC1    *Coefficient `json:"ac1,omitempty"`
	// NoMajority counts the items on which no label has more votes than any other; they have no label.
	NoMajority int `json:"no_majority,omitempty"`
	Unlabelled int `json:"unlabelled,omitempty"`
}

// Judge is the content of an audit file.
type Judge struct {
	Telltale string `json:"telltale"`
	// Made is when the audit was made; zero in audits of versions that did not say.
	Made time.Time `json:"made,omitzero"`
	// Name is the judge's provider as a suite names it; Signature the recipe of the metric whose verdicts these
	// are, where they are those of a run.
	Name      string `json:"name,omitempty"`
	Metric    string `json:"metric,omitempty"`
	Signature string `json:"signature,omitempty"`
	Items     int    `json:"items"`
	// Treatment says in words what was done with labels that differ in form and with answers that are no verdict.
	Treatment string `json:"treatment"`
	Humans    Humans `json:"humans"`
	// Invalid is of all verdicts; Accuracy the agreement with the majority of the people, over the items that have
	// a majority and a verdict; Strict counts an item without a verdict as a disagreement.
	Invalid  *Share       `json:"invalid"`
	Accuracy *Share       `json:"accuracy"`
	Strict   *Share       `json:"accuracy_with_invalid"`
	Kappa    *Coefficient `json:"kappa"`
	AC1      *Coefficient `json:"ac1"`
	Alpha    *Coefficient `json:"alpha"`
	// Swap is how often both orders give the same verdict, Self how often two verdicts on one item agree.
	Swap *Share `json:"order_consistency,omitempty"`
	Self *Share `json:"self_consistency,omitempty"`
	// Labels counts the judge's verdicts.
	Labels map[string]int `json:"labels"`
	// Mean is the prediction-powered estimate of the people's mean label.
	Mean *Mean `json:"mean,omitempty"`
}

// Mean is what people would say on average, from few labels and many verdicts.
type Mean struct {
	Of       string  `json:"of"`
	Value    float64 `json:"value"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Human    float64 `json:"human_only"`
	HumanSE  float64 `json:"human_only_se"`
	SE       float64 `json:"se"`
	Lambda   float64 `json:"lambda"`
	Labelled int     `json:"labelled"`
	Others   int     `json:"unlabelled"`
	// Gain is how many times as many labels would give the same precision without the judge.
	Gain float64 `json:"gain"`
}

// Canonical makes one label of texts that read the same: spaces at the ends do not count, nor how a number is written.
func Canonical(label string) string {
	label = strings.TrimSpace(label)
	if x, err := strconv.ParseFloat(label, 64); err == nil && stats.Finite(x) {
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
	return label
}

// Majority is the label with more votes than any other; ok is false when there is none.
func Majority(labels []string) (label string, ok bool) {
	count, most := map[string]int{}, 0
	for _, l := range labels {
		if l != "" {
			count[l]++
			most = max(most, count[l])
		}
	}
	for l, n := range count {
		if n != most {
			continue
		}
		if ok {
			return "", false
		}
		label, ok = l, true
	}
	return label, ok
}

// codes gives each label a number.
type codes map[string]float64

func (c codes) of(label string) float64 {
	if label == "" {
		return math.NaN()
	}
	if _, ok := c[label]; !ok {
		c[label] = float64(len(c))
	}
	return c[label]
}

// Measure computes the numbers of an audit. humans are the people's names, in the order of Votes.Humans. What
// cannot be computed of these votes is nil.
func Measure(votes []Votes, humans []string) *Judge {
	j := &Judge{Items: len(votes), Labels: map[string]int{}}
	c := codes{}
	for i := range votes {
		for _, l := range slices.Concat(votes[i].Humans, votes[i].Judge) {
			c.of(l)
		}
	}
	j.Humans = people(votes, humans, c)
	var majority, verdicts []float64
	var agreed, judged, labelled, invalid, asked, same, pairs, swapSame, swaps int
	for i := range votes {
		v := &votes[i]
		for k, l := range v.Judge {
			asked++
			if v.Invalid[k] {
				invalid++
			}
			if l != "" {
				j.Labels[l]++
			}
		}
		p, q := equalPairs(v.Judge)
		same, pairs = same+p, pairs+q
		first := verdict(v)
		if len(v.Swapped) > 0 && first != "" && v.Swapped[0] != "" {
			swaps++
			if v.Swapped[0] == first {
				swapSame++
			}
		}
		label, ok := Majority(v.Humans)
		if !ok || len(v.Judge) == 0 {
			continue
		}
		labelled++
		majority, verdicts = append(majority, c.of(label)), append(verdicts, c.of(first))
		if first == "" {
			continue
		}
		judged++
		if first == label {
			agreed++
		}
	}
	j.Invalid, j.Accuracy, j.Strict = share(invalid, asked), share(agreed, judged), share(agreed, labelled)
	j.Self, j.Swap = share(same, pairs), share(swapSame, swaps)
	j.Kappa = coefficient(stats.CohenKappa(majority, verdicts, stats.NoCredit))
	both := stats.Ratings{Items: make([][]float64, len(majority)), Categories: c.values()}
	for i := range majority {
		both.Items[i] = []float64{majority[i], verdicts[i]}
	}
	j.AC1, j.Alpha = coefficient(stats.GwetAC1(both)), coefficient(stats.KrippendorffAlpha(both, stats.NominalScale))
	j.Mean = mean(votes)
	return j
}

func (c codes) values() []float64 {
	out := make([]float64, len(c))
	for i := range out {
		out[i] = float64(i)
	}
	return out
}

// verdict is the judge's first verdict on an item; empty when that was none.
func verdict(v *Votes) string {
	if len(v.Judge) == 0 {
		return ""
	}
	return v.Judge[0]
}

// equalPairs counts the pairs of verdicts and those that are equal.
func equalPairs(verdicts []string) (equal, pairs int) {
	for i, a := range verdicts {
		for _, b := range verdicts[i+1:] {
			if a == "" || b == "" {
				continue
			}
			pairs++
			if a == b {
				equal++
			}
		}
	}
	return equal, pairs
}

func people(votes []Votes, names []string, c codes) Humans {
	h := Humans{Names: names}
	r := stats.Ratings{}
	columns := make([][]float64, len(names))
	for i := range votes {
		row := make([]float64, len(names))
		given := 0
		for k := range names {
			row[k] = c.of(votes[i].Humans[k])
			columns[k] = append(columns[k], row[k])
			if votes[i].Humans[k] != "" {
				given++
			}
		}
		r.Items = append(r.Items, row)
		if _, ok := Majority(votes[i].Humans); !ok {
			if given == 0 {
				h.Unlabelled++
			} else {
				h.NoMajority++
			}
		}
	}
	if len(names) < 2 {
		return h
	}
	for i := range names {
		for k := i + 1; k < len(names); k++ {
			h.Pairs = append(h.Pairs, Pair{names[i], names[k], coefficient(stats.CohenKappa(columns[i], columns[k], stats.NoCredit))})
		}
	}
	h.Fleiss, h.AC1 = coefficient(stats.FleissKappa(r)), coefficient(stats.GwetAC1(r))
	h.Alpha = coefficient(stats.KrippendorffAlpha(r, stats.NominalScale))
	return h
}

// mean estimates the people's mean label where the labels are numbers, or pass and fail, and where the judge saw
// items that nobody labelled.
func mean(votes []Votes) *Mean {
	var y, predicted, others []float64
	of := "label"
	for i := range votes {
		v := &votes[i]
		first := verdict(v)
		if first == "" {
			continue
		}
		x, ok := number(first)
		if !ok {
			return nil
		}
		label, labelled := Majority(v.Humans)
		if !labelled {
			if !slices.ContainsFunc(v.Humans, func(l string) bool { return l != "" }) {
				others = append(others, x)
			}
			continue
		}
		want, ok := number(label)
		if !ok {
			return nil
		}
		if label == "pass" || label == "fail" {
			of = "share of pass"
		}
		y, predicted = append(y, want), append(predicted, x)
	}
	p, ok := stats.PredictionPowered(y, predicted, others)
	if !ok {
		return nil
	}
	i, ok := p.Interval(stats.Level)
	if !ok {
		return nil
	}
	return &Mean{Of: of, Value: p.Value, Low: i.Low, High: i.High, Human: p.HumanOnly, HumanSE: p.HumanSE, SE: p.SE, Lambda: p.Lambda, Labelled: p.Labelled, Others: p.Unlabelled, Gain: p.Gain}
}

func number(label string) (float64, bool) {
	switch label {
	case "pass":
		return 1, true
	case "fail":
		return 0, true
	}
	x, err := strconv.ParseFloat(label, 64)
	return x, err == nil && stats.Finite(x)
}

// LowerBound is the lower end of a coefficient's 95% interval: kappa, ac1, alpha or accuracy. ok is false where the
// audit does not have it. Accuracy is that with invalid verdicts counted as wrong.
func (j *Judge) LowerBound(name string) (low float64, ok bool) {
	if name == "accuracy" {
		if j.Strict == nil {
			return 0, false
		}
		return j.Strict.Low, true
	}
	c := map[string]*Coefficient{"kappa": j.Kappa, "ac1": j.AC1, "alpha": j.Alpha}[name]
	if c == nil || c.Low == nil {
		return 0, false
	}
	return *c.Low, true
}

// Change is one number of two audits.
type Change struct {
	What string  `json:"what"`
	Was  Share   `json:"was"`
	Is   Share   `json:"is"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	// P is Fisher's exact two-sided p-value, Adjusted that after Holm over all numbers.
	P        float64 `json:"p"`
	Adjusted float64 `json:"p_adjusted"`
	Drifted  bool    `json:"drifted"`
}

// Drift compares an audit with a later one of the same judge, on independent items: agreement, invalid verdicts and
// the shares of the verdicts. The chance of seeing drift in a judge that has not changed is at most alpha.
func Drift(was, is *Judge, alpha float64) []Change {
	var out []Change
	add := func(what string, a, b *Share) {
		if a == nil || b == nil {
			return
		}
		p, _, _ := stats.FisherExact(a.K, a.N-a.K, b.K, b.N-b.K)
		c := Change{What: what, Was: *a, Is: *b, P: p}
		if i, ok := stats.Newcombe(b.K, b.N, a.K, a.N, stats.Level); ok {
			c.Low, c.High = i.Low, i.High
		}
		out = append(out, c)
	}
	add("agreement with people", was.Strict, is.Strict)
	add("invalid verdicts", was.Invalid, is.Invalid)
	add("same verdict in both orders", was.Swap, is.Swap)
	var labels []string
	total := func(m map[string]int) (n int) {
		for l, k := range m {
			n += k
			if !slices.Contains(labels, l) {
				labels = append(labels, l)
			}
		}
		return n
	}
	before, now := total(was.Labels), total(is.Labels)
	slices.SortFunc(labels, func(a, b string) int { return cmp.Compare(a, b) })
	for _, l := range labels {
		add("verdict "+strconv.Quote(l), share(was.Labels[l], before), share(is.Labels[l], now))
	}
	p := make([]float64, len(out))
	for i := range out {
		p[i] = out[i].P
	}
	for i, adjusted := range stats.Holm(p) {
		out[i].Adjusted, out[i].Drifted = adjusted, adjusted < alpha
	}
	return out
}
