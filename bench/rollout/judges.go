package main

import (
	"github.com/telltale-llm/telltale/internal/stats"
)

// method is a way to decide.
type method int

const (
	ours method = iota
	threshold
	naive
	mixture
	methods
)

// judge sees request after request, and says when it takes the canary back.
type judge interface {
	see(arm stats.Arm, pi float64, failed bool) (back bool, err error)
}

func newJudge(m method) (judge, error) {
	switch m {
	case ours:
		return newRollout()
	case threshold:
		return &fixedThreshold{}, nil
	case naive:
		return &repeatedZ{}, nil
	}
	m0, err := stats.NewMSPRT(mixtureScale)
	return &mixtureTest{m0}, err
}

func value(failed bool) float64 {
	if failed {
		return 1
	}
	return 0
}

// fixedThreshold takes the canary back at the second window of 1,000 requests in which it failed more than 2% of its own: what
// is set up by hand most often, with one failure allowed.
type fixedThreshold struct{ all, n, k, over int }

const (
	window       = 1000
	most         = 0.02
	allowed      = 1
	look         = 100  // requests between two looks of the z-test
	mixtureScale = 0.02 // differences that the mixture test is made for
)

func (f *fixedThreshold) see(arm stats.Arm, _ float64, failed bool) (bool, error) {
	if arm == stats.Canary {
		f.n++
		if failed {
			f.k++
		}
	}
	if f.all++; f.all < window {
		return false, nil
	}
	if float64(f.k) > most*float64(f.n) {
		f.over++
	}
	f.all, f.n, f.k = 0, 0, 0
	return f.over > allowed, nil
}

// repeatedZ is a pooled two-sided z-test at alpha, looked at every 100 requests.
type repeatedZ struct{ n, k [2]int }

func (z *repeatedZ) see(arm stats.Arm, _ float64, failed bool) (bool, error) {
	z.n[arm]++
	if failed {
		z.k[arm]++
	}
	if (z.n[0]+z.n[1])%look != 0 {
		return false, nil
	}
	_, p, ok := stats.PooledZ(z.k[1], z.n[1], z.k[0], z.n[0])
	return ok && p < alpha, nil
}

type mixtureTest struct{ *stats.MSPRT }

func (m *mixtureTest) see(arm stats.Arm, _ float64, failed bool) (bool, error) {
	err := m.Update(arm, value(failed))
	return m.Rejects(alpha), err
}
