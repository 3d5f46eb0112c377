package stats

import (
	"math"
	"slices"
)

// Ratings holds what several raters said about the same items.
type Ratings struct {
	// Items has one row for each item and in it one rating for each rater, NaN where the rater gave none; an infinite
	// one makes every coefficient refuse. The columns are only told apart by CohenKappa's caller; raters may differ
	// from item to item. Labels are coded as numbers; where only their equality matters, any numbers do.
	Items [][]float64
	// Categories are the ratings that could be given. Nil means those that were. It matters to GwetAC1 and
	// GwetAC2, whose chance agreement depends on how many there are, and to weights, which are relative to the
	// widest distance.
	Categories []float64
}

// Agreement is a coefficient of agreement beyond chance: 1 when raters always agree, 0 when no more than by chance.
type Agreement struct {
	Value float64
	// SE is the standard error over items; the raters are taken as given.
	SE float64
	// Observed and Expected are the shares of agreement seen and expected by chance, weighted if the coefficient is:
	// Value = (Observed − Expected)/(1 − Expected).
	Observed, Expected float64
	// Items is how many items have at least two ratings, Ratings how many ratings were used.
	Items, Ratings int
}

// Interval returns Value ± t·SE with Items−1 degrees of freedom, within [−1, 1]. ok is false below two items and when
// SE is 0: no spread was seen, so none can be vouched for.
func (a Agreement) Interval(level float64) (i Interval, ok bool) {
	if a.Items < 2 || !(a.SE > 0) || !(level > 0 && level < 1) {
		return Interval{}, false
	}
	half := StudentQuantile(level, float64(a.Items-1)) * a.SE
	return Interval{a.Value - half, a.Value + half}.Clip(-1, 1), true
}

// Credit says how far two different ratings count as agreement.
type Credit uint8

// The credits, for ratings x and y whose widest possible distance is r.
const (
	// NoCredit gives 1 to equal ratings and 0 to others.
	NoCredit Credit = iota
	// LinearCredit gives 1 − |x−y|/r.
	LinearCredit
	// QuadraticCredit gives 1 − (x−y)²/r².
	QuadraticCredit
)

func (c Credit) of(x, y, widest float64) float64 {
	switch {
	case x == y:
		return 1
	case c == LinearCredit:
		return 1 - math.Abs(x-y)/widest
	case c == QuadraticCredit:
		return 1 - (x-y)*(x-y)/(widest*widest)
	}
	return 0
}

// CohenKappa is the agreement of two raters, whose i-th ratings are a[i] and b[i] (Cohen 1960; 1968 with credit). Items
// that one of them did not rate (NaN) are left out. Chance agreement is that of the raters' own shares of each
// category. The standard error is that of Fleiss, Cohen and Everitt (1969) for a κ that is not 0: with p_ij the
// share of items rated i and j, w_ij the credit, w̄_i· and w̄_·j its means over the other rater's shares,
//
//	SE² = (Σ p_ij (w_ij − (w̄_i· + w̄_·j)(1 − κ))² − (κ − P_e(1 − κ))²) / (n(1 − P_e)²)
//
// ok is false when the lengths differ, nothing was rated by both, or both always gave the same one category.
func CohenKappa(a, b []float64, credit Credit) (k Agreement, ok bool) {
	if len(a) != len(b) {
		return Agreement{}, false
	}
	items := make([][]float64, 0, len(a))
	for i := range a {
		if !math.IsNaN(a[i]) && !math.IsNaN(b[i]) {
			items = append(items, []float64{a[i], b[i]})
		}
	}
	t, ok := newTally(Ratings{Items: items}, credit)
	if !ok || len(items) == 0 {
		return Agreement{}, false
	}
	q, n := len(t.categories), float64(len(items))
	first, second := make([]float64, q), make([]float64, q)
	for _, row := range items {
		first[t.index(row[0])] += 1 / n
		second[t.index(row[1])] += 1 / n
	}
	toSecond, toFirst := t.weigh(second), t.weigh(first) // w̄_i· and w̄_·j
	var seen, chance Sum
	for i := range q {
		chance.Add(first[i] * toSecond[i])
	}
	for _, row := range items {
		seen.Add(t.credit(t.index(row[0]), t.index(row[1])) / n)
	}
	k = Agreement{Observed: seen.Value(), Expected: chance.Value(), Items: len(items), Ratings: 2 * len(items)}
	if !k.finish() {
		return Agreement{}, false
	}
	var squares Sum
	for _, row := range items {
		i, j := t.index(row[0]), t.index(row[1])
		u := t.credit(i, j) - (toSecond[i]+toFirst[j])*(1-k.Value)
		squares.Add(u * u / n)
	}
	centre := k.Value - k.Expected*(1-k.Value)
	k.SE = math.Sqrt(math.Max(0, squares.Value()-centre*centre)/n) / (1 - k.Expected)
	k.settle()
	return k, true
}

// FleissKappa is the agreement of several raters (Fleiss 1971), with missing ratings as in Gwet (2014), "Handbook of
// Inter-Rater Reliability", chapter 2. Chance agreement is Σ π_k², with π_k the mean over items of the share of the item's
// ratings that are k. The standard error is Gwet's, by linearisation, which holds for any true κ; the classical one holds for
// κ = 0 only. ok is false when no item has two ratings and when only one category was given.
func FleissKappa(r Ratings) (k Agreement, ok bool) {
	t, ok := newTally(r, NoCredit)
	if !ok {
		return Agreement{}, false
	}
	weighed := t.weigh(t.prevalence)
	var chance Sum
	for k, p := range t.prevalence {
		chance.Add(p * weighed[k])
	}
	return t.coefficient(chance.Value(), func(k int) float64 { return weighed[k] })
}

// GwetAC1 is agreement with a chance term that does not break down when one category is much more common than the
// others (Gwet 2008): Σ π_k(1 − π_k)/(q − 1) over q categories. Missing ratings and the standard error are as in
// FleissKappa. ok is false when no item has two ratings and when there are fewer than two categories.
func GwetAC1(r Ratings) (a Agreement, ok bool) { return GwetAC2(r, NoCredit) }

// GwetAC2 is GwetAC1 with credit for ratings that are close (Gwet 2014, chapter 5): the chance term is
// T Σ π_k(1 − π_k)/(q(q − 1)) with T = Σ w_kl. Its chance term is low in small samples, so that it comes out a little
// high: with quadratic credit and 100 items by 0.01, and its interval of 95% then covers 93% of the time.
func GwetAC2(r Ratings, credit Credit) (a Agreement, ok bool) {
	t, ok := newTally(r, credit)
	q := len(t.categories)
	if !ok || q < 2 {
		return Agreement{}, false
	}
	total := 0.0
	for _, credit := range t.weigh(slices.Repeat([]float64{1}, q)) {
		total += credit
	}
	scale := total / float64(q*(q-1))
	var chance Sum
	for _, p := range t.prevalence {
		chance.Add(scale * p * (1 - p))
	}
	return t.coefficient(chance.Value(), func(k int) float64 { return scale * (1 - t.prevalence[k]) })
}

// tally is what the coefficients of Fleiss and Gwet are computed from.
type tally struct {
	categories []float64 // sorted
	kind       Credit
	widest     float64
	items      [][]rated // items with at least one rating
	pairs      int       // items with at least two
	ratings    int
	prevalence []float64 // of each category: the mean of its shares of the items' ratings
}

// rated is how many raters gave an item a category.
type rated struct {
	category int
	count    float64
}

func newTally(r Ratings, credit Credit) (t *tally, ok bool) {
	t = &tally{kind: credit, categories: slices.Clone(r.Categories)}
	if r.Categories == nil {
		for _, row := range r.Items {
			for _, x := range row {
				if !math.IsNaN(x) {
					t.categories = append(t.categories, x)
				}
			}
		}
	}
	slices.Sort(t.categories)
	t.categories = slices.Compact(t.categories)
	if len(t.categories) == 0 || !Finite(t.categories[0]) || !Finite(t.categories[len(t.categories)-1]) {
		return t, false
	}
	t.widest = t.categories[len(t.categories)-1] - t.categories[0]
	for _, row := range r.Items {
		item, n := []rated(nil), 0
		for _, x := range row {
			if math.IsNaN(x) {
				continue
			}
			k := t.index(x)
			if k < 0 {
				return t, false
			}
			n++
			if at := slices.IndexFunc(item, func(r rated) bool { return r.category == k }); at >= 0 {
				item[at].count++
			} else {
				item = append(item, rated{k, 1})
			}
		}
		if n > 0 {
			t.items = append(t.items, item)
			t.ratings += n
		}
		if n > 1 {
			t.pairs++
		}
	}
	t.prevalence = make([]float64, len(t.categories))
	for _, item := range t.items {
		n := raters(item)
		for _, r := range item {
			t.prevalence[r.category] += r.count / n / float64(len(t.items))
		}
	}
	return t, true
}

func raters(item []rated) (n float64) {
	for _, r := range item {
		n += r.count
	}
	return n
}

// index returns the position of category x, -1 for one that may not be given.
func (t *tally) index(x float64) int {
	k, found := slices.BinarySearch(t.categories, x)
	if !found {
		return -1
	}
	return k
}

func (t *tally) credit(i, j int) float64 {
	return t.kind.of(t.categories[i], t.categories[j], t.widest)
}

// weigh returns Σ_l w_kl·share_l for each category k.
func (t *tally) weigh(share []float64) []float64 {
	if t.kind == NoCredit {
		return share
	}
	out := make([]float64, len(share))
	for k := range out {
		for l, p := range share {
			out[k] += t.credit(k, l) * p
		}
	}
	return out
}

// coefficient returns (P_o − P_e)/(1 − P_e). part(k) is what a rating of category k adds to its item's share of the
// chance agreement. The variance is that of the items' linear contributions
//
//	κ_i = (n/n₂)(P_o,i − P_e·[r_i ≥ 2])/(1 − P_e) − 2(1 − κ)(P_e,i − P_e)/(1 − P_e)
//
// about κ, over n(n − 1), with n items of which n₂ have two ratings.
func (t *tally) coefficient(chance float64, part func(category int) float64) (a Agreement, ok bool) {
	if t.pairs == 0 {
		return Agreement{}, false
	}
	n, n2 := float64(len(t.items)), float64(t.pairs)
	agreed := make([]float64, len(t.items))
	var seen Sum
	for i, item := range t.items {
		m := raters(item)
		if m < 2 {
			continue
		}
		for _, r := range item {
			credit := -1.0 // a rating is no pair with itself
			for _, s := range item {
				credit += s.count * t.credit(r.category, s.category)
			}
			agreed[i] += r.count * credit / (m * (m - 1))
		}
		seen.Add(agreed[i] / n2)
	}
	a = Agreement{Observed: seen.Value(), Expected: chance, Items: t.pairs, Ratings: t.ratings}
	if !a.finish() {
		return Agreement{}, false
	}
	var squares Sum
	for i, item := range t.items {
		m := raters(item)
		expected := 0.0
		for _, r := range item {
			expected += part(r.category) * r.count / m
		}
		k := -2 * (1 - a.Value) * (expected - chance) / (1 - chance)
		if m >= 2 {
			k += n / n2 * (agreed[i] - chance) / (1 - chance)
		}
		squares.Add((k - a.Value) * (k - a.Value))
	}
	a.SE = math.Sqrt(squares.Value() / (n * (n - 1)))
	a.settle()
	return a, true
}

// finish computes the value; false when there is nothing but chance agreement to have.
func (a *Agreement) finish() bool {
	if !(1-a.Expected > 1e-12) {
		return false
	}
	a.Value = (a.Observed - a.Expected) / (1 - a.Expected)
	return Finite(a.Value)
}

// settle takes away what rounding leaves of a standard error of nothing, and of a single item that has none.
func (a *Agreement) settle() {
	if !(a.SE > 1e-9) || !Finite(a.SE) {
		a.SE = 0
	}
}
