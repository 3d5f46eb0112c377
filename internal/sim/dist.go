package sim

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Dist is a distribution of times (in seconds) or of lengths (in tokens), written as
//
//	200ms                     always that
//	uniform(100ms, 300ms)     anything in between
//	lognormal(200ms, 600ms)   half below the first, 95% below the second
//	exponential(200ms)        with that mean
//
// The zero value is always 0.
type Dist struct {
	kind distKind
	a, b float64
}

type distKind uint8

const (
	constant distKind = iota
	uniform
	lognormal
	exponential
)

var distNames = [...]string{uniform: "uniform", lognormal: "lognormal", exponential: "exponential"}

// z95 is the 95% quantile of the standard normal distribution.
const z95 = 1.6448536269514722

// distWant is what a message says was expected.
const distWant = "a time such as 200ms, uniform(100ms, 300ms), lognormal(200ms, 600ms) for median and 95%, or exponential(200ms) for the mean"

// lengthWant is distWant for lengths.
const lengthWant = "a number of tokens such as 40, uniform(20, 60), lognormal(40, 120) or exponential(40)"

// ParseTimes reads a distribution of times. A plain number is in seconds.
func ParseTimes(s string) (Dist, error) { return parseDist(s, parseSeconds) }

func parseLengths(s string) (Dist, error) {
	return parseDist(s, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
}

func parseDist(s string, number func(string) (float64, error)) (Dist, error) {
	s = strings.TrimSpace(s)
	name, rest, call := strings.Cut(s, "(")
	d := Dist{}
	args := []string{s}
	want := 1
	if call {
		switch strings.TrimSpace(name) {
		case "uniform":
			d.kind, want = uniform, 2
		case "lognormal":
			d.kind, want = lognormal, 2
		case "exponential":
			d.kind, want = exponential, 1
		default:
			return Dist{}, fmt.Errorf("unknown distribution %q", strings.TrimSpace(name))
		}
		rest, ok := strings.CutSuffix(rest, ")")
		if !ok {
			return Dist{}, fmt.Errorf("%q lacks its closing parenthesis", s)
		}
		args = strings.Split(rest, ",")
	}
	if len(args) != want {
		return Dist{}, fmt.Errorf("%q has %d values, not %d", s, len(args), want)
	}
	var v [2]float64
	for i, arg := range args {
		x, err := number(strings.TrimSpace(arg))
		if err != nil || !(x >= 0) || x > 1e6 {
			return Dist{}, fmt.Errorf("%q is not a value from 0 to 1e6", strings.TrimSpace(arg))
		}
		v[i] = x
	}
	d.a, d.b = v[0], v[1]
	switch {
	case want == 2 && d.b < d.a:
		return Dist{}, fmt.Errorf("%q: the second value is below the first", s)
	case d.kind == lognormal && d.a == 0:
		return Dist{}, fmt.Errorf("%q: the median of a lognormal is above 0", s)
	}
	return d, nil
}

func parseSeconds(s string) (float64, error) {
	if f, err := strconv.ParseFloat(s, 64); err == nil {
		return f, nil
	}
	d, err := time.ParseDuration(s)
	return d.Seconds(), err
}

// at returns the quantile u, 0 <= u < 1.
func (d Dist) at(u float64) float64 {
	switch d.kind {
	case uniform:
		return d.a + u*(d.b-d.a)
	case lognormal:
		// Away from 0, where the quantile of the normal is minus infinity.
		z := math.Sqrt2 * math.Erfinv(2*max(u, 1e-12)-1)
		return d.a * math.Exp(z*math.Log(d.b/d.a)/z95)
	case exponential:
		return -d.a * math.Log1p(-u)
	}
	return d.a
}

// duration returns the quantile u of a distribution of seconds.
func (d Dist) duration(u float64) time.Duration {
	if d == (Dist{}) {
		return 0
	}
	return time.Duration(d.at(u) * float64(time.Second))
}

// String returns the notation, values in seconds or tokens.
func (d Dist) String() string {
	switch d.kind {
	case constant:
		return strconv.FormatFloat(d.a, 'g', -1, 64)
	case exponential:
		return fmt.Sprintf("exponential(%g)", d.a)
	}
	return fmt.Sprintf("%s(%g, %g)", distNames[d.kind], d.a, d.b)
}

// MarshalText makes a Dist part of a hash of the configuration.
func (d Dist) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
