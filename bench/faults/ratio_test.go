package main

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	window := func(scale float64) []reply {
		at := time.Unix(1_800_000_000, 0)
		out := make([]reply, 1000)
		for i := range out {
			due := at.Add(time.Duration(i) * 7 * time.Millisecond)
			out[i] = reply{due: due, done: due.Add(time.Duration(scale * (20 + rng.ExpFloat64()) * float64(time.Millisecond)))}
		}
		return out
	}
	f := func(name string, scales [][2]float64, clear bool, from, to float64) {
		t.Helper()
		var turns []turn
		for _, s := range scales {
			turns = append(turns, turn{window(s[0]), window(s[1])})
		}
		v := compare(turns, 1)
		if v.clear(1.1) != clear || !(v.ratio >= from && v.ratio <= to) || v.low > v.ratio || v.high < v.ratio {
			t.Errorf("%s: %+v", name, v)
		}
	}
	f("alike", [][2]float64{{1, 1}, {1, 1}, {1, 1}}, true, .95, 1.05)
	f("slower", [][2]float64{{1, 1.5}, {1, 1.5}, {1, 1.5}}, true, 1.4, 1.6)
	f("who knows", [][2]float64{{1, 2}, {2, 1}, {1, 1}}, false, .8, 1.3)
	empty := []turn{{normal: window(1), broken: []reply{{err: errors.New("x")}}}}
	if v := compare(empty, 1); v.clear(1.1) || !math.IsNaN(v.ratio) {
		t.Errorf("without an answer: %+v", v)
	}
	if v := compare(nil, 1); v.clear(1.1) {
		t.Errorf("of nothing: %+v", v)
	}
}
