package main

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/scorer/toxicity"
)

// settings of the training. They were chosen on the validation part, for AUC, and on ordinary answers
// of language models, for few of them flagged.
type settings struct {
	seen   int // in how many texts a feature must occur
	epochs int // passes over the examples
	rate   float64
	l1, l2 float64 // penalties
	seed   uint64
}

var chosen = settings{seen: 30, epochs: 8, rate: 0.3, l1: 1, l2: 0.1, seed: 20240607}

// sample is an example as the training sees it: the indices of its known features.
type sample struct {
	features []int32
	norm     float64
	label    float64
	weight   float64
}

// classWeights gives toxic texts and others the same total weight: the share of toxic ones among
// collected tweets says nothing about that among answers.
func classWeights(labels []float64) []float64 {
	toxic := 0.0
	for _, y := range labels {
		toxic += y
	}
	n := float64(len(labels))
	out := make([]float64, len(labels))
	for i, y := range labels {
		out[i] = n / (2 * (y*toxic + (1-y)*(n-toxic)))
	}
	return out
}

// vocabulary numbers the features that occur in enough texts.
type vocabulary struct {
	index map[uint64]int32
	hash  []uint64
}

func distinct(x *toxicity.Extractor, text string) (hashes []uint64, total int) {
	f := x.Features(text)
	total = len(f)
	hashes = slices.Clone(f)
	slices.Sort(hashes)
	return slices.Compact(hashes), total
}

func collect(texts [][]example, least int) *vocabulary {
	var x toxicity.Extractor
	counts := map[uint64]int{}
	for _, corpus := range texts {
		for _, e := range corpus {
			hashes, _ := distinct(&x, e.text)
			for _, h := range hashes {
				counts[h]++
			}
		}
	}
	v := &vocabulary{index: map[uint64]int32{}}
	for _, h := range slices.Sorted(maps.Keys(counts)) {
		if counts[h] >= least {
			v.index[h] = int32(len(v.hash))
			v.hash = append(v.hash, h)
		}
	}
	return v
}

func (v *vocabulary) samples(corpus []example) []sample {
	var x toxicity.Extractor
	var out []sample
	var labels []float64
	for _, e := range corpus {
		hashes, total := distinct(&x, e.text)
		if total == 0 {
			continue
		}
		s := sample{norm: toxicity.Norm(total), label: e.label()}
		for _, h := range hashes {
			if i, ok := v.index[h]; ok {
				s.features = append(s.features, i)
			}
		}
		out = append(out, s)
		labels = append(labels, s.label)
	}
	for i, w := range classWeights(labels) {
		out[i].weight = w
	}
	return out
}

// fit trains on the training part of each corpus and calibrates on the validation part. The same
// corpora give the same parameters to the last bit: one goroutine, a seeded order.
func fit(set settings, corpora ...[]example) (toxicity.Params, error) {
	rng := rand.New(rand.NewPCG(set.seed, 1))
	training := make([][]example, len(corpora))
	for i, c := range corpora {
		training[i] = augment(rng, only(c, trainPart))
		if len(training[i]) == 0 {
			return toxicity.Params{}, errors.New("no examples to train on")
		}
	}
	v := collect(training, set.seen)
	samples := func() (all []sample) {
		for _, c := range training {
			all = append(all, v.samples(c)...)
		}
		return all
	}
	weights, bias := descend(set, rng, samples(), len(v.hash))
	p := quantize(v, weights, bias)
	p.Slope, p.Offset = 1, 0
	m, err := toxicity.Decode(toxicity.Encode(p))
	if err != nil {
		return p, err
	}
	var margins, labels, ws []float64
	for _, c := range corpora {
		v := measure(m, only(c, validatePart))
		margins, labels, ws = append(margins, v.margins...), append(labels, v.labels...), append(ws, v.weights...)
	}
	if len(margins) == 0 {
		return p, errors.New("no examples to calibrate on")
	}
	slope, offset := platt(margins, labels, ws)
	p.Slope, p.Offset = float32(slope), float32(offset)
	return p, nil
}

func only(examples []example, p part) []example {
	var out []example
	for _, e := range examples {
		if e.part == p {
			out = append(out, e)
		}
	}
	return out
}

// augment adds two kinds of texts: with letters masked by asterisks, which people do and these
// corpora hardly have; and two or three texts in one, for answers are longer than tweets.
func augment(rng *rand.Rand, examples []example) []example {
	out := slices.Clone(examples)
	for _, e := range examples {
		if rng.IntN(4) == 0 {
			e.text = mask(rng, e.text)
			out = append(out, e)
		}
	}
	var neutral []string
	for _, e := range examples {
		if !e.toxic {
			neutral = append(neutral, e.text)
		}
	}
	if len(neutral) == 0 {
		return out
	}
	for _, e := range examples {
		if rng.IntN(2) == 0 {
			continue
		}
		texts := []string{e.text}
		for range 1 + rng.IntN(2) {
			texts = append(texts, neutral[rng.IntN(len(neutral))])
		}
		rng.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
		e.text = strings.Join(texts, " ")
		out = append(out, e)
	}
	return out
}

// mask replaces one or two letters within each word of four letters or more.
func mask(rng *rand.Rand, text string) string {
	words := strings.Fields(text)
	for i, w := range words {
		if len(w) < 4 || len(w) > 12 {
			continue
		}
		b := []byte(w)
		at := 1 + rng.IntN(len(b)-2)
		for n := 1 + rng.IntN(2); n > 0 && at < len(b)-1; n, at = n-1, at+1 {
			if 'a' <= b[at]|0x20 && b[at]|0x20 <= 'z' {
				b[at] = '*'
			}
		}
		words[i] = string(b)
	}
	return strings.Join(words, " ")
}

// descend minimises the weighted log loss plus an L1 and an L2 penalty by FTRL-Proximal (McMahan
// et al., 2013). L1 leaves most weights at exactly 0: a word that says little either way must not
// add to the noise of a long and harmless text. The bias is not penalised. The weights are averaged
// over the later half of the passes, for the last ones depend on the order.
func descend(set settings, rng *rand.Rand, samples []sample, size int) (weights []float64, bias float64) {
	type coordinate struct{ w, z, n float64 }
	c := make([]coordinate, size)
	var b coordinate
	update := func(c *coordinate, g, l1 float64) {
		n := c.n + g*g
		c.z += g - (math.Sqrt(n)-math.Sqrt(c.n))/set.rate*c.w
		c.n = n
		if math.Abs(c.z) <= l1 {
			c.w = 0
			return
		}
		c.w = -(c.z - math.Copysign(l1, c.z)) / ((1+math.Sqrt(c.n))/set.rate + set.l2)
	}
	order := make([]int, len(samples))
	for i := range order {
		order[i] = i
	}
	sum, bsum, averaged := make([]float64, size), 0.0, 0.0
	for epoch := range set.epochs {
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			s := &samples[i]
			z := b.w
			for _, f := range s.features {
				z += c[f].w * s.norm
			}
			d := s.weight * (1/(1+math.Exp(-z)) - s.label)
			update(&b, d, 0)
			for _, f := range s.features {
				update(&c[f], d*s.norm, set.l1)
			}
		}
		if epoch < set.epochs/2 {
			continue
		}
		averaged++
		for f := range c {
			sum[f] += c[f].w
		}
		bsum += b.w
	}
	for f := range sum {
		sum[f] /= averaged
	}
	return sum, bsum / averaged
}

// clipped is the share of the weights that lie beyond what a byte can say. Without it a single
// outlier would make all others coarse.
const clipped = 1e-3

func quantize(v *vocabulary, weights []float64, bias float64) toxicity.Params {
	sizes := make([]float64, len(weights))
	for i, w := range weights {
		sizes[i] = math.Abs(w)
	}
	slices.Sort(sizes)
	most := sizes[len(sizes)-1-int(clipped*float64(len(sizes)))]
	if most == 0 {
		most = 1
	}
	p := toxicity.Params{Scale: float32(most / 127), Bias: float32(bias), Weights: map[uint64]int8{}}
	for i, w := range weights {
		if q := int8(max(-127, min(127, math.Round(w/float64(p.Scale))))); q != 0 {
			p.Weights[v.hash[i]] = q
		}
	}
	return p
}

// platt fits 1/(1+exp(-(a·m+b))) to labels by Newton's method with step halving (Platt, 1999; Lin,
// Lin and Weng, 2007). Targets are drawn in a little, as Platt advises, so that no example asks for
// certainty.
func platt(margins, labels, weights []float64) (a, b float64) {
	var pos, neg float64
	for i, y := range labels {
		pos += weights[i] * y
		neg += weights[i] * (1 - y)
	}
	high, low := (pos+1)/(pos+2), 1/(neg+2)
	target := func(i int) float64 { return low + (high-low)*labels[i] }
	loss := func(a, b float64) float64 {
		sum := 0.0
		for i, m := range margins {
			z := a*m + b
			// log(1+exp(z)) without overflow
			sum += weights[i] * (max(z, 0) + math.Log1p(math.Exp(-math.Abs(z))) - target(i)*z)
		}
		return sum
	}
	a, b = 0, math.Log((pos+1)/(neg+1))
	last := loss(a, b)
	for range 100 {
		var ga, gb, haa, hab, hbb float64
		haa, hbb = 1e-12, 1e-12
		for i, m := range margins {
			p := 1 / (1 + math.Exp(-(a*m + b)))
			d, h := weights[i]*(p-target(i)), weights[i]*p*(1-p)
			ga, gb = ga+d*m, gb+d
			haa, hab, hbb = haa+h*m*m, hab+h*m, hbb+h
		}
		det := haa*hbb - hab*hab
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		step, next := 1.0, 0.0
		for ; step > 1e-10; step /= 2 {
			if next = loss(a-step*da, b-step*db); next < last {
				break
			}
		}
		if !(next < last) || last-next < 1e-12*last {
			break
		}
		a, b, last = a-step*da, b-step*db, next
	}
	return a, b
}
