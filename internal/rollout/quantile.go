package rollout

import "github.com/telltale-llm/telltale/internal/config"

// Frozen says at which quantile of the baseline's outcomes a signal is held against it, such as 0.95: that of the worst
// outcomes, so 0.05 where less is worse. ok is false for signals that are about none, and for those whose threshold the
// document gives.
func Frozen(g *config.Signal) (q float64, ok bool) {
	if q = quantile(g); q == 0 || g.Threshold > 0 {
		return 0, false
	}
	if g.Worse == "lower" {
		q = 1 - q
	}
	return q, true
}
