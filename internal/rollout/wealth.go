package rollout

import (
	"math"
)

// wealth is a mixture of nonnegative martingales that start at 1: an e-process. It is kept as numbers rather than
// logarithms, with a common power of two, since a bet is then a multiplication.
//
// A part of it, Cash, is not staked. At the start of a stage some of that is put on every part: a candidate that was
// good for long, and has lost the stakes, would otherwise take very long to be found out when it becomes bad. Moving
// capital between the parts leaves the mean as it is, so the whole stays a martingale.
type wealth struct {
	W []float64 `json:"w"`
	// Exp is the power of two that W is to be multiplied by.
	Exp  int     `json:"exp,omitempty"`
	Cash float64 `json:"cash"`
	// Peak is the highest logarithm of the whole so far, Top the sum of W then, or a lower bound of it.
	Peak float64 `json:"peak"`
	Top  float64 `json:"top"`
}

const (
	// reserve is the share that is not staked at the start. It costs −ln(0.98) = 0.02 of the 4.6 nats that alpha = 0.01 asks for.
	reserve = 0.02
	// restake is the share of the cash that is staked at the start of each further stage.
	restake = 0.5

	wealthHigh = 1e100
	wealthLow  = 1e-100
	topMost    = 1e300
)

func newWealth(parts int, cash float64) wealth {
	w := wealth{W: make([]float64, parts), Cash: cash}
	for i := range w.W {
		w.W[i] = 1 - cash
	}
	w.Top = float64(parts) * (1 - cash)
	return w
}

// settle looks at the sum of the parts after a bet.
func (w *wealth) settle(sum float64) {
	if sum > w.Top {
		w.Top = sum
		w.Peak = max(w.Peak, w.log(sum))
	}
	w.scale(sum)
}

// scale keeps the parts within what a float64 holds.
func (w *wealth) scale(sum float64) {
	if sum > wealthHigh || sum < wealthLow && sum > 0 {
		_, e := math.Frexp(sum)
		for i := range w.W {
			w.W[i] = math.Ldexp(w.W[i], -e)
		}
		w.Top = min(math.Ldexp(w.Top, -e), topMost)
		w.Exp += e
	}
}

// log is the logarithm of the whole when the parts have that sum.
func (w *wealth) log(sum float64) float64 {
	staked := math.Log(sum/float64(len(w.W))) + float64(w.Exp)*math.Ln2
	if w.Cash == 0 {
		return staked
	}
	cash := math.Log(w.Cash)
	high, low := max(staked, cash), min(staked, cash)
	return high + math.Log1p(math.Exp(low-high))
}

func (w *wealth) sum() float64 {
	sum := 0.0
	for _, x := range w.W {
		sum += x
	}
	return sum
}

// logE is the logarithm of the e-process now; −750 stands for less than a float64 can hold.
func (w *wealth) logE() float64 { return max(w.log(w.sum()), -750) }

// stake puts a part of the cash on every part.
func (w *wealth) stake() {
	move := w.Cash * restake
	if move == 0 {
		return
	}
	w.Cash -= move
	// The sum is that of what is staked, over 2^Exp. A stake that is too small beside the rest changes nothing.
	add := math.Ldexp(move, -w.Exp)
	if math.IsInf(add, 0) {
		// What is staked has gone below 1e-100: it is as nothing beside the cash.
		for i := range w.W {
			w.W[i] = 0
		}
		w.Exp, add, w.Top = 0, move, 0
	}
	for i := range w.W {
		w.W[i] += add
	}
	w.Top = min(w.Top+add*float64(len(w.W)), topMost)
	w.settle(w.sum())
}

// by multiplies the parts by factors, one for each.
func (w *wealth) by(factors []float64) {
	sum := 0.0
	for i, f := range factors {
		w.W[i] *= f
		sum += w.W[i]
	}
	w.settle(sum)
}
