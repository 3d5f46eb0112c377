// Package audit says how far a judge can be trusted: how well its verdicts agree with people's labels.
//
// Votes are what people and the judge said of the same items, as texts; Measure makes a Judge of them, the numbers
// of an audit file; Drift compares two of those. It reads no labels from files and asks no judge: package app does
// the one and a run the other.
package audit

import (
	"cmp"
	"maps"
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
	A        string       `json:"a"`
	B        string       `json:"b"`
	Kappa    *Coefficient `json:"kappa"`
	Weighted *Coefficient `json:"weighted_kappa,omitempty"`
}

// Scale says what labels are.
type Scale string

// The scales. On an ordinal one labels are numbers, and those that are near one another count as part of an agreement.
const (
	Nominal Scale = "nominal"
	Ordinal Scale = "ordinal"
)

// Graded are coefficients of an ordinal scale: Krippendorff's alpha with the ordinal metric and Gwet's AC2 with quadratic weights.
type Graded struct {
	OrdinalAlpha *Coefficient `json:"ordinal_alpha,omitempty"`
	AC2          *Coefficient `json:"ac2,omitempty"`
}

func (g *Graded) measure(r stats.Ratings) {
	g.OrdinalAlpha, g.AC2 = coefficient(stats.KrippendorffAlpha(r, stats.OrdinalScale)), coefficient(stats.GwetAC2(r, stats.QuadraticCredit))
}

// Humans is how far people agree with one another: what a judge can be expected to reach.
type Humans struct {
	Names  []string     `json:"names"`
	Pairs  []Pair       `json:"pairs,omitempty"`
	Fleiss *Coefficient `json:"fleiss,omitempty"`
	Alpha  *Coefficient `json:"alpha,omitempty"`
	AC1    *Coefficient `json:"ac1,omitempty"`
	Graded
	// NoMajority counts the items on which no label has more votes than any other, or no median; they have no label.
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
	// Scale is empty for a nominal one.
	Scale  Scale  `json:"scale,omitempty"`
	Humans Humans `json:"humans"`
	// Unjudged counts the items with a label on which the judge was not asked.
	Unjudged int `json:"unjudged,omitempty"`
	// Invalid is of all verdicts; Accuracy the agreement with the majority of the people, over the items that have
	// a majority and a verdict; Strict counts an item without a verdict as a disagreement.
	Invalid  *Share       `json:"invalid"`
	Accuracy *Share       `json:"accuracy"`
	Strict   *Share       `json:"accuracy_with_invalid"`
	Kappa    *Coefficient `json:"kappa"`
	AC1      *Coefficient `json:"ac1"`
	Alpha    *Coefficient `json:"alpha"`
	// Weighted is Cohen's kappa with quadratic weights.
	Weighted *Coefficient `json:"weighted_kappa,omitempty"`
	Graded
	// Table counts items by people's label and in it by the judge's verdict, empty where that is none.
	Table map[string]map[string]int `json:"table,omitempty"`
	// Swap is how often both orders give the same verdict, Self how often two verdicts on one item agree.
	Swap *Share `json:"order_consistency,omitempty"`
	Self *Share `json:"self_consistency,omitempty"`
	// Labels counts the judge's verdicts.
	Labels map[string]int `json:"labels"`
	// Mean is the prediction-powered estimate of the people's mean label.
	Mean *Mean `json:"mean,omitempty"`
	// Digest is a hash of the rest of the file, by which a change by hand is noticed.
	Digest string `json:"digest,omitempty"`
}

// Canonical makes one label of texts that read the same: spaces at the ends do not count, nor how a number is written. A number
// of more digits than a float64 holds stays as it is, and so does one that begins with 0 as names do, such as 007.
func Canonical(label string) string {
	label = strings.TrimSpace(label)
	if len(label) > 1 && label[0] == '0' && label[1] >= '0' && label[1] <= '9' {
		return label
	}
	if x, err := strconv.ParseFloat(label, 64); err == nil && math.Abs(x) < 1<<53 {
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

// consensus is what people say of an item: the label of most, and on an ordinal scale the median; ok is false where there is
// no such label.
func consensus(labels []string, scale Scale) (label string, ok bool) {
	if scale != Ordinal {
		return Majority(labels)
	}
	given := slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return l == "" })
	if len(given) == 0 {
		return "", false
	}
	slices.SortFunc(given, func(a, b string) int {
		x, _ := number(a)
		y, _ := number(b)
		return cmp.Compare(x, y)
	})
	label = given[(len(given)-1)/2]
	return label, label == given[len(given)/2]
}

// codes gives each label a number.
type codes map[string]float64

// newCodes gives each label a number of its own: on an ordinal scale the one that it is.
func newCodes(votes []Votes, scale Scale) codes {
	c := codes{}
	for i := range votes {
		for _, l := range slices.Concat(votes[i].Humans, votes[i].Judge) {
			if x, ok := number(l); ok && scale == Ordinal {
				c[l] = x
			}
			c.of(l)
		}
	}
	return c
}

func (c codes) of(label string) float64 {
	if label == "" {
		return math.NaN()
	}
	if _, ok := c[label]; !ok {
		c[label] = float64(len(c))
	}
	return c[label]
}

// Measure computes the numbers of an audit. humans are the people's names, in the order of Votes.Humans. On an ordinal scale
// all labels are numbers, or pass and fail for 1 and 0. What cannot be computed of these votes is nil.
func Measure(votes []Votes, humans []string, scale Scale) *Judge {
	j := &Judge{Items: len(votes), Labels: map[string]int{}, Table: map[string]map[string]int{}}
	c := newCodes(votes, scale)
	j.Humans = people(votes, humans, c, scale)
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
		label, ok := consensus(v.Humans, scale)
		if !ok {
			continue
		}
		if len(v.Judge) == 0 {
			j.Unjudged++
			continue
		}
		labelled++
		if j.Table[label] == nil {
			j.Table[label] = map[string]int{}
		}
		j.Table[label][first]++
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
	if scale == Ordinal {
		j.Scale, j.Weighted = scale, coefficient(stats.CohenKappa(majority, verdicts, stats.QuadraticCredit))
		j.measure(both)
	}
	j.Mean = mean(votes, scale)
	return j
}

func (c codes) values() []float64 { return slices.Collect(maps.Values(c)) }

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

func people(votes []Votes, names []string, c codes, scale Scale) Humans {
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
		if _, ok := consensus(votes[i].Humans, scale); !ok {
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
			pair := Pair{A: names[i], B: names[k], Kappa: coefficient(stats.CohenKappa(columns[i], columns[k], stats.NoCredit))}
			if scale == Ordinal {
				pair.Weighted = coefficient(stats.CohenKappa(columns[i], columns[k], stats.QuadraticCredit))
			}
			h.Pairs = append(h.Pairs, pair)
		}
	}
	h.Fleiss, h.AC1 = coefficient(stats.FleissKappa(r)), coefficient(stats.GwetAC1(r))
	h.Alpha = coefficient(stats.KrippendorffAlpha(r, stats.NominalScale))
	if scale == Ordinal {
		h.measure(r)
	}
	return h
}

// coefficients are the names by which LowerBound knows them.
var coefficients = []string{"kappa", "ac1", "alpha", "accuracy", "weighted_kappa", "ac2", "ordinal_alpha"}

// Bounded are the coefficients of which LowerBound has something to say.
func (j *Judge) Bounded() []string {
	return slices.DeleteFunc(slices.Clone(coefficients), func(name string) bool {
		_, ok := j.LowerBound(name)
		return !ok
	})
}

// LowerBound is the lower end of a coefficient's 95% interval. ok is false where the audit does not have it. Accuracy is
// that with invalid verdicts counted as wrong.
func (j *Judge) LowerBound(name string) (low float64, ok bool) {
	if name == "accuracy" {
		if j.Strict == nil {
			return 0, false
		}
		return j.Strict.Low, true
	}
	c := map[string]*Coefficient{"kappa": j.Kappa, "ac1": j.AC1, "alpha": j.Alpha, "weighted_kappa": j.Weighted, "ac2": j.AC2, "ordinal_alpha": j.OrdinalAlpha}[name]
	if c == nil || c.Low == nil {
		return 0, false
	}
	return *c.Low, true
}
