package rollout

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

const powerDoc = `
kind: experiment
name: tone
route: main
variants: [{name: baseline, weight: 50%}, {name: short, weight: 50%}]
metric: {kind: error_rate}
stop: {min_duration: 1d, max_duration: 10d, min_samples: 500, futility: 0.1%}
`

func powerOf(t *testing.T, units float64) (*config.Rollout, *Power) {
	t.Helper()
	doc, err := config.LoadRollout("x.yaml", []byte(powerDoc), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPower(doc, units, 0.1, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	return doc, p
}

// TestPower: more time sees less, and a difference as large as is said to be found with 80% power is found about so often by
// the interval itself.
func TestPower(t *testing.T) {
	doc, p := powerOf(t, 200)
	if len(p.Rows) != 3 || !(p.Rows[0].Found > p.Rows[1].Found && p.Rows[1].Found > p.Rows[2].Found) || p.Rows[2].Units != 48_000 {
		t.Fatalf("%+v", p)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "futil") {
		t.Errorf("%q", p.Warnings)
	}
	row := p.Rows[2]
	const runs = 100
	found := 0
	for run := range runs {
		rng := rand.New(rand.NewPCG(9, uint64(run)))
		pool := newPool()
		var d difference
		for range int(row.Units) {
			arm, rate := 0, 0.1
			if rng.Float64() < .5 {
				arm, rate = 1, 0.1+row.Found
			}
			v, c := 0.0, pool.C
			if rng.Float64() < rate {
				v = 1
			}
			z := -(v - c) / .5
			if arm == 1 {
				z = -z
			}
			d.take(.5, c, 2*math.Max(c, 1-c)+2*math.Max(c, 1-c), z)
			pool.add(v)
		}
		if i, ok := d.interval(doc.Alpha); ok && i.Low > 0 {
			found++
		}
	}
	if found < 60 || found > 95 {
		t.Errorf("a difference of %.4f is found in %d of %d", row.Found, found, runs)
	}
	if _, small := powerOf(t, 1); len(small.Warnings) < 2 {
		t.Errorf("%+v", small)
	}
	for _, bad := range [][3]float64{{0, .1, 0}, {math.NaN(), .1, 0}, {10, 0, 0}, {10, 1, 0}, {10, .5, .6}, {10, math.NaN(), 0}} {
		if _, err := NewPower(doc, bad[0], bad[1], bad[2], 1); err == nil {
			t.Errorf("%v accepted", bad)
		}
	}
	// Beyond what is simulated the law carries on.
	if _, many := powerOf(t, 20_000); !(many.Rows[2].Half < row.Half && many.Rows[2].Half > row.Half/20) {
		t.Errorf("%+v after %+v", many.Rows[2], row)
	}
}
