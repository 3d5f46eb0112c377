package stats

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// decodeState reads the JSON state of a streaming procedure. The state must be, byte for byte but for white space,
// what the procedure wrote: no key missing, repeated, unknown or in another order, and no number written
// otherwise. Evidence that was damaged is no evidence, and a state that continues must continue with the same bits.
func decodeState(data []byte, kind string, into any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("state of a %s: %w", kind, err)
	}
	again, err := json.Marshal(into)
	if err != nil {
		return fmt.Errorf("state of a %s: %w", kind, err)
	}
	var given bytes.Buffer
	if err := json.Compact(&given, data); err != nil {
		return fmt.Errorf("state of a %s: %w", kind, err)
	}
	if !bytes.Equal(given.Bytes(), again) {
		return fmt.Errorf("state of a %s is not as it was written: read %.80q, which stands for %.80q", kind, given.Bytes(), again)
	}
	return nil
}

// badState says which part of a state cannot be.
func badState(kind, part string, value any) error {
	return fmt.Errorf("state of a %s: %s cannot be %v", kind, part, value)
}

// evidence is a mixture of nonnegative martingales of mean 1 in the logarithm, and the highest that it has stood.
// Its methods are those of every e-process here.
type evidence struct {
	logs []float64
	now  float64
	peak float64
}

func newEvidence(parts int) evidence { return evidence{logs: make([]float64, parts)} }

// LogE is the logarithm of the e-process now. It starts at 0; below 0 the observations speak for the null.
func (e *evidence) LogE() float64 { return e.now }

// PeakLogE is the highest that LogE has been. The chance that it ever reaches ln(1/α) is at most α when the null is
// true (Ville 1939), whenever one looks and for whatever reason one stops.
func (e *evidence) PeakLogE() float64 { return e.peak }

// Rejects says whether the null is rejected at alpha: the process has once been at 1/alpha or above. An
// alpha outside (0, 1) rejects nothing.
func (e *evidence) Rejects(alpha float64) bool {
	return alpha > 0 && alpha < 1 && e.peak >= -math.Log(alpha)
}

// PValue is the always valid p-value 1/sup E, at most 1.
func (e *evidence) PValue() float64 { return math.Exp(-e.peak) }

// settle notes the new value of the mixture.
func (e *evidence) settle() {
	e.now = logMean(e.logs)
	e.peak = math.Max(e.peak, e.now)
}

// check refuses logs and a peak that no run of the process can leave behind.
func (e *evidence) check(kind string, parts int) error {
	if len(e.logs) != parts {
		return badState(kind, "the number of parts", len(e.logs))
	}
	for _, x := range e.logs {
		if !Finite(x) {
			return badState(kind, "a part", x)
		}
	}
	e.now = logMean(e.logs)
	if !Finite(e.peak) || e.peak < 0 || e.peak < e.now && !almost(e.peak, e.now) {
		return badState(kind, "the peak", e.peak)
	}
	e.peak = math.Max(e.peak, e.now)
	return nil
}

// almost says whether two numbers are the same but for the last bits, in which kinds of processor differ: a state may be taken
// up on another one.
func almost(a, b float64) bool { return math.Abs(a-b) <= 1e-9*math.Max(math.Abs(a), math.Abs(b)) }

// logMean is ln of the mean of exp(x).
func logMean(x []float64) float64 {
	top := math.Inf(-1)
	for _, v := range x {
		top = math.Max(top, v)
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum/float64(len(x)))
}

// LogGrid returns n numbers from low to high, each the same multiple of the one before. It is nil unless
// 0 < low ≤ high and n ≥ 1.
func LogGrid(low, high float64, n int) []float64 {
	if !(low > 0) || !(high >= low) || math.IsInf(high, 0) || n < 1 {
		return nil
	}
	grid := make([]float64, n)
	for i := range grid {
		if n == 1 {
			grid[i] = low
			continue
		}
		grid[i] = low * math.Pow(high/low, float64(i)/float64(n-1))
	}
	grid[n-1] = high
	return grid
}
