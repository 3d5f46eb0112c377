package privacy

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

func TestKeepUnits(t *testing.T) {
	s := NewSampler(testKey, config.Capture{Content: .25, Unit: "user"})
	again, more := NewSampler(testKey, config.Capture{Content: .25, Unit: "user"}), NewSampler(testKey, config.Capture{Content: .5, Unit: "user"})
	kept := 0
	const n = 20_000
	for i := range n {
		x := &record.Exchange{ID: fmt.Sprint(i), User: fmt.Sprint("user", i), Session: "s"}
		keep, inclusion := s.Keep(x)
		if inclusion != .25 {
			t.Fatalf("inclusion %v", inclusion)
		}
		x.ID = "another request of the same user"
		if k, _ := again.Keep(x); k != keep {
			t.Fatalf("user %d: kept once and not the other time", i)
		}
		if k, _ := more.Keep(x); keep && !k {
			t.Fatalf("user %d is kept at a quarter and not at a half", i)
		}
		if keep {
			kept++
		}
	}
	if se := math.Sqrt(.25 * .75 * n); math.Abs(float64(kept)-.25*n) > 4*se {
		t.Errorf("kept %d of %d", kept, n)
	}
}

func TestKeepBounds(t *testing.T) {
	x := &record.Exchange{ID: "1", ErrorKind: record.Server}
	f := func(cfg config.Capture, keep bool, inclusion float64) {
		t.Helper()
		if k, p := NewSampler(testKey, cfg).Keep(x); k != keep || p != inclusion {
			t.Errorf("%+v: %v %v", cfg, k, p)
		}
	}
	f(config.Capture{Content: 1}, true, 1)
	f(config.Capture{Content: 0}, false, 0)
	f(config.Capture{Content: math.NaN()}, false, 0)
	f(config.Capture{Content: 0, Errors: true, MaxErrors: 10}, true, 1)
	f(config.Capture{Content: 0, Errors: true}, false, 0)
}

// Weighting each kept exchange by one over its inclusion gives unbiased totals, below and above the cap, with bursts;
// and the cap holds for the expected number.
func TestHorvitzThompson(t *testing.T) {
	f := func(name string, perMinute []int, share float64) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			const limit, runs = 20, 300
			var sum, squares, kept float64
			for run := range runs {
				s := NewSampler(fmt.Appendf(nil, "key %d", run), config.Capture{Content: share, Unit: "user", Errors: true, MaxErrors: limit})
				estimate := 0.
				for minute, n := range perMinute {
					for i := range n {
						x := &record.Exchange{ID: fmt.Sprint(minute, "-", i), User: fmt.Sprint(i % 7), Variant: "canary"}
						keep, inclusion := s.Keep(x)
						if !(inclusion > 0 && inclusion <= 1) {
							t.Fatalf("%s: inclusion %v", name, inclusion)
						}
						if keep {
							estimate += float64(1+i%3) / inclusion
							kept++
						}
					}
					time.Sleep(time.Minute)
				}
				sum += estimate
				squares += estimate * estimate
			}
			truth := 0.
			all := 0
			for _, n := range perMinute {
				all += n
				for i := range n {
					truth += float64(1 + i%3)
				}
			}
			mean := sum / runs
			se := math.Sqrt(max(squares/runs-mean*mean, 0)/runs) + 1e-9*truth
			if math.Abs(mean-truth) > 4*se {
				t.Errorf("%s: the estimate is %.1f ± %.1f on average; the total is %.0f", name, mean, se, truth)
			}
			most := share*float64(all) + (1-share)*limit*float64(len(perMinute))
			if perRun := kept / runs; perRun > most*1.02+1 {
				t.Errorf("%s: %.1f are kept on average; the cap allows %.1f", name, perRun, most)
			}
		})
	}
	f("few", []int{10, 5, 16}, .1)
	f("many", []int{100, 100, 100}, .1)
	f("burst", []int{5, 200, 10}, .2)
	f("nothing else", []int{60, 60}, 0)
}

// As long as few come, each is kept.
func TestFewAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSampler(testKey, config.Capture{Errors: true, MaxErrors: 60})
		for range 3 {
			for i := range 48 {
				if keep, p := s.Keep(&record.Exchange{ID: fmt.Sprint(i), Refused: true}); !keep || p != 1 {
					t.Fatalf("%d: %v %v", i, keep, p)
				}
			}
			time.Sleep(time.Minute)
		}
	})
}

// What a rollout compares must not depend on the variant: apart from those that are marked, a candidate's answers are kept when the
// baseline's would have been, and a copy when its original is.
func TestKeepMarksWhatVariantsAdd(t *testing.T) {
	s := NewSampler(testKey, config.Capture{Content: .2, Unit: "request", Errors: true, MaxErrors: 1 << 20})
	picked := 0
	for i := range 2000 {
		of := func(id, variant, pairs string) *record.Exchange {
			return &record.Exchange{ID: id, Variant: variant, Assigned: &record.Assignment{Rollout: "swap", Pairs: pairs}}
		}
		id := fmt.Sprint("x", i)
		base, canary, copied := of(id, "baseline", ""), of(id, "canary", ""), of(id+"s", record.VariantShadow, id)
		want, _ := s.Keep(base)
		if base.Assigned.Picked {
			t.Fatal("a usual answer of the baseline's is marked")
		}
		for _, x := range []*record.Exchange{canary, copied} {
			if keep, _ := s.Keep(x); !keep || x.Assigned.Picked == want {
				t.Fatalf("%s: kept %t, picked %t; the baseline's is kept: %t", x.ID, keep, x.Assigned.Picked, want)
			}
			x.Scores = []record.OnlineScore{{Name: "polite", Pass: new(true)}}
			if e, ok := record.NewEvidence(x); !ok || len(e.Scores) == 1 != want {
				t.Fatalf("%+v", e)
			}
		}
		if canary.Assigned.Picked {
			picked++
		}
	}
	if picked < 1500 || picked > 1700 {
		t.Errorf("%d of 2000", picked)
	}
}
