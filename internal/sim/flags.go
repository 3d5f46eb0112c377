package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// faultWant is what a message says was expected of --error-rate.
const faultWant = "a share such as 0.05 (of status 500), or a list such as 429=0.02,503=0.01,cut=0.01"

// ParseFaults reads the short notation of faults: a share, which is of status 500, or a list of
// STATUS=SHARE and KIND=SHARE.
func ParseFaults(s string) ([]Fault, error) {
	if share, err := strconv.ParseFloat(s, 64); err == nil {
		s = "500=" + strconv.FormatFloat(share, 'g', -1, 64)
	}
	var out []Fault
	for item := range strings.SplitSeq(s, ",") {
		what, rate, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return nil, fmt.Errorf("%q is not NAME=SHARE; want %s", item, faultWant)
		}
		f := Fault{Kind: FaultKind(what)}
		var err error
		if f.Rate, err = strconv.ParseFloat(rate, 64); err != nil || !(f.Rate >= 0 && f.Rate <= 1) {
			return nil, fmt.Errorf("%q is not a share from 0 to 1", rate)
		}
		if f.Status, err = strconv.Atoi(what); err == nil {
			f.Kind = Status
		}
		switch {
		case f.Kind == Status && f.Status >= 400 && f.Status <= 599:
		case f.Kind != Status && known(f.Kind):
		default:
			return nil, fmt.Errorf("%q is not a fault; want a status from 400 to 599, hang, reset, cut, stream_error, malformed or empty", what)
		}
		out = append(out, f)
	}
	if b := (&Behaviour{Faults: out}); b.rateSum() > 1+1e-9 {
		return nil, fmt.Errorf("the shares of %q add up to %g; want at most 1", s, b.rateSum())
	}
	return out, nil
}

func known(k FaultKind) bool {
	for _, f := range faultKinds {
		if f == k {
			return true
		}
	}
	return false
}

// Override sets latency and faults of the base and of every version.
func (c *Config) Override(set func(*Behaviour)) {
	set(&c.Behaviour)
	for name, b := range c.Versions {
		set(&b)
		c.Versions[name] = b
	}
}
