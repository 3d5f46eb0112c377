package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Hand is what two systems answered in one independent cluster, an answer being a vector of additive statistics: with a
// group of cases, their sum over one repeat.
type Hand struct {
	Base, Head [][]float64
}

// Deal tests the difference f(head) − f(base) of runs with unequal numbers of repeats. head is the sum over all hands of the
// mean of the head's answers, and base that of the base's. Had nothing changed, any of a cluster's answers could as
// well be the base's, so that all are shuffled and dealt anew, as many to each side as it had (Pitman 1937, within
// blocks). Turning the signs of differences, as SignFlip does, would not do: the mean of five answers less that
// of one is skewed, and where most answers are right a test of its sign calls an unchanged system worse in up to a fifth of cases
// at a level of a twentieth.
//
// N deals are drawn at random, with p-values as in SignFlip. f gets vectors that it must neither keep nor change, and
// must be pure; a deal for which it is not finite counts as extreme. ok is false without hands, for a side without an
// answer, for vectors of different lengths or that are not finite, and when f is not finite for the sides as they are.
func Deal(hands []Hand, f func([]float64) float64, d Draws) (p Flipped, ok bool) {
	s, ok := newDealer(hands)
	if !ok {
		return Flipped{}, false
	}
	for i := range s.moving {
		s.hand(&s.moving[i], nil)
	}
	b, h := f(s.base), f(s.head)
	c := counter{observed: h - b, tie: tieShare * (math.Abs(h) + math.Abs(b))}
	if !Finite(c.observed) || !Finite(c.tie) {
		return Flipped{}, false
	}
	n := d.N
	if n <= 0 {
		n = PermutationDraws
	}
	r := rand.New(d.source(streamDeal))
	for range n {
		copy(s.base, s.stillBase)
		copy(s.head, s.stillHead)
		for i := range s.moving {
			s.hand(&s.moving[i], r)
		}
		c.see(f(s.head) - f(s.base))
	}
	return c.drawn(), true
}

// dealer adds up hands. Those whose answers are all alike come to the same however they are dealt, and are added up once.
type dealer struct {
	base, head           []float64
	stillBase, stillHead []float64
	moving               []dealt
}

type dealt struct {
	answers [][]float64 // the base's first
	base    int         // how many of them are
}

func newDealer(hands []Hand) (s *dealer, ok bool) {
	if len(hands) == 0 || len(hands[0].Base) == 0 {
		return nil, false
	}
	width := len(hands[0].Base[0])
	s = &dealer{base: make([]float64, width), head: make([]float64, width)}
	for _, h := range hands {
		if len(h.Base) == 0 || len(h.Head) == 0 {
			return nil, false
		}
		one := dealt{slices.Concat(h.Base, h.Head), len(h.Base)}
		same := true
		for _, v := range one.answers {
			if len(v) != width || slices.ContainsFunc(v, func(x float64) bool { return !Finite(x) }) {
				return nil, false
			}
			same = same && slices.Equal(v, one.answers[0])
		}
		if same {
			s.hand(&one, nil)
		} else {
			s.moving = append(s.moving, one)
		}
	}
	s.stillBase, s.stillHead = slices.Clone(s.base), slices.Clone(s.head)
	return s, width > 0
}

// hand adds the means of both sides, after a shuffle unless r is nil. To choose the base's answers is to choose all.
func (s *dealer) hand(one *dealt, r *rand.Rand) {
	if r != nil {
		for i := range one.base {
			j := i + r.IntN(len(one.answers)-i)
			one.answers[i], one.answers[j] = one.answers[j], one.answers[i]
		}
	}
	b, h := 1/float64(one.base), 1/float64(len(one.answers)-one.base)
	for i, v := range one.answers {
		sums, share := s.head, h
		if i < one.base {
			sums, share = s.base, b
		}
		for k, x := range v {
			sums[k] += share * x
		}
	}
}
