package stats

// FlakeRate returns the chance that two answers to the same case get different verdicts, from passed and failed
// repeats of it, with an interval. Repeats are taken as independent answers that pass with one chance p, so that
// the rate is 2p(1−p): 0 for a case that always passes or always fails, and at most 1/2.
//
// The estimate is the share of pairs of repeats that differ, 2k(n−k)/(n(n−1)) for k of n, which has no bias
// (it is the U-statistic of the kernel "differs"; Hoeffding 1948). It is cut at 1/2, which few repeats can exceed
// by chance.
//
// The interval is Wilson's of p, mapped through 2p(1−p): all rates that some p in it has. It covers at least as
// often as Wilson's does, since p in the one puts the rate in the other. Two equal verdicts say next to nothing,
// and their interval reaches to 1/2. Jeffreys' interval would be about as good; Wilson's always holds k/n, and is what
// rates of runs have.
//
// ok is false below two repeats, when a count is negative, and for a level outside (0, 1).
func FlakeRate(passed, failed int, level float64) (rate float64, i Interval, ok bool) {
	if passed < 0 || failed < 0 || passed+failed < 2 {
		return 0, Interval{}, false
	}
	k, n := float64(passed), float64(passed)+float64(failed)
	p, ok := Wilson(k, n, level)
	if !ok {
		return 0, Interval{}, false
	}
	differ := func(p float64) float64 { return 2 * p * (1 - p) }
	a, b := differ(p.Low), differ(p.High)
	i = Interval{min(a, b), max(a, b)}
	if p.Low <= 0.5 && p.High >= 0.5 {
		i.High = 0.5
	}
	return min(2*(k/n)*((n-k)/(n-1)), 0.5), i, true
}
