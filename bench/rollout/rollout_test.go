package main

import (
	"math"
	"reflect"
	"testing"
)

// The simulation is repeatable, and its rows are what their names say.
func TestSimulation(t *testing.T) {
	for _, sc := range scenarios() {
		sc.horizon /= 10
		const n = 6
		one, err := simulate(sc, n, 3)
		if err != nil {
			t.Fatal(err)
		}
		two, err := simulate(sc, n, 3)
		if err != nil || !reflect.DeepEqual(one.at, two.at) {
			t.Errorf("%s: %v and %v, %v", sc.name, one.at, two.at, err)
		}
		if sc.ratio != 1 && !(one.bound > 0) {
			t.Errorf("%s: a bound of %v", sc.name, one.bound)
		}
		for m := range one.at {
			if len(one.at[m]) != n {
				t.Errorf("%s: %d runs", sc.name, len(one.at[m]))
			}
		}
	}
}

// A bar that is missed is told.
func TestBars(t *testing.T) {
	f := func(r row, want int) {
		t.Helper()
		if got := r.missed(); len(got) != want {
			t.Errorf("%+v: %q", r, got)
		}
	}
	at := func(values ...float64) (out [methods][]float64) {
		for m := range out {
			out[m] = values
		}
		return out
	}
	never := math.Inf(1)
	many := make([]float64, 200)
	for i := range many {
		many[i] = never
	}
	f(row{scenario: scenario{ratio: 1}, runs: 200, at: at(many...)}, 0)
	f(row{scenario: scenario{ratio: 1}, runs: 4, at: at(1, 2, 3, 4)}, 1)
	harm := scenario{ratio: 3, horizon: 1000, medianBar: 1.15, meanBar: 1.3}
	f(row{scenario: harm, runs: 3, bound: 100, at: at(90, 110, 150)}, 0)
	f(row{scenario: harm, runs: 3, bound: 100, at: at(90, 120, never)}, 2)
}
