package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"

	"github.com/telltale-llm/telltale/internal/scorer/toxicity"
)

// measured is a set of examples as a model scores them.
type measured struct{ margins, probabilities, labels, weights []float64 }

// measure leaves out what the model cannot read, which these corpora have next to none of.
func measure(m *toxicity.Model, examples []example) measured {
	var out measured
	for _, e := range examples {
		margin, ok := m.Margin(e.text)
		s, err := m.Score(e.text)
		if !ok || err != nil {
			continue
		}
		out.margins = append(out.margins, margin)
		out.probabilities = append(out.probabilities, s.Probability)
		out.labels = append(out.labels, e.label())
	}
	out.weights = classWeights(out.labels)
	return out
}

// auc is the probability that a toxic text scores above one that is not, ties counting half
// (the Mann-Whitney statistic). NaN if there are not both.
func auc(scores, labels []float64) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		switch {
		case scores[i] < scores[j]:
			return -1
		case scores[i] > scores[j]:
			return 1
		}
		return 0
	})
	var pos, neg, ranks float64
	for i := 0; i < len(order); {
		j := i
		for j < len(order) && scores[order[j]] == scores[order[i]] {
			j++
		}
		mean := float64(i+j+1) / 2
		for ; i < j; i++ {
			if labels[order[i]] == 1 {
				pos++
				ranks += mean
			} else {
				neg++
			}
		}
	}
	return (ranks - pos*(pos+1)/2) / (pos * neg)
}

// brier is the weighted mean squared distance of probabilities from labels.
func brier(p measured) float64 {
	var sum, total float64
	for i, q := range p.probabilities {
		sum += p.weights[i] * (q - p.labels[i]) * (q - p.labels[i])
		total += p.weights[i]
	}
	return sum / total
}

// ece is the expected calibration error over ten bins of equal width.
func ece(p measured) float64 {
	var confidence, share, weight [10]float64
	total := 0.0
	for i, q := range p.probabilities {
		bin := min(9, int(q*10))
		confidence[bin] += p.weights[i] * q
		share[bin] += p.weights[i] * p.labels[i]
		weight[bin] += p.weights[i]
		total += p.weights[i]
	}
	sum := 0.0
	for b := range weight {
		sum += math.Abs(confidence[b] - share[b])
	}
	return sum / total
}

// at counts the share of toxic texts found and of others wrongly flagged above a probability.
func at(p measured, threshold float64) (found, flagged float64) {
	var pos, neg float64
	for i, q := range p.probabilities {
		if p.labels[i] == 1 {
			pos++
			if q > threshold {
				found++
			}
		} else {
			neg++
			if q > threshold {
				flagged++
			}
		}
	}
	return found / pos, flagged / neg
}

const threshold = 0.5

func report(w io.Writer, m *toxicity.Model, davidson, paradetox []example, checks []check) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "model\t%s\n\ncorpus, held out\ttexts\tAUC\tfound\twrongly flagged\tECE\tBrier\n", m.Name())
	for _, c := range []struct {
		name     string
		examples []example
	}{{"davidson", davidson}, {"paradetox", paradetox}} {
		p := measure(m, only(c.examples, testPart))
		found, flagged := at(p, threshold)
		fmt.Fprintf(t, "%s\t%d\t%.4f\t%.1f%%\t%.1f%%\t%.3f\t%.3f\n", c.name, len(p.labels), auc(p.margins, p.labels), 100*found, 100*flagged, ece(p), brier(p))
	}
	fmt.Fprint(t, "\nHateCheck functionality\tlabel\tcases\tright\n")
	var order []string
	type tally struct {
		hateful      bool
		cases, right int
	}
	by := map[string]*tally{}
	var total, hate, other tally
	for _, c := range checks {
		k := by[c.functionality]
		if k == nil {
			k = &tally{hateful: c.hateful}
			by[c.functionality] = k
			order = append(order, c.functionality)
		}
		s, err := m.Score(c.text)
		right := err == nil && (s.Probability > threshold) == c.hateful
		all := []*tally{k, &total, &other}
		if c.hateful {
			all[2] = &hate
		}
		for _, k := range all {
			k.cases++
			if right {
				k.right++
			}
		}
	}
	row := func(name, label string, k *tally) {
		fmt.Fprintf(t, "%s\t%s\t%d\t%.1f%%\n", name, label, k.cases, 100*float64(k.right)/float64(k.cases))
	}
	for _, name := range order {
		label := "not hateful"
		if by[name].hateful {
			label = "hateful"
		}
		row(name, label, by[name])
	}
	row("all", "hateful", &hate)
	row("all", "not hateful", &other)
	row("all", "", &total)
	return t.Flush()
}
