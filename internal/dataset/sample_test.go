package dataset

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/internal/config"
)

// sampleOf returns the ids of a sample of inline cases named by names.
func sampleOf(t *testing.T, seed int64, size int, names []string) []string {
	t.Helper()
	tests := make([]config.Test, len(names))
	for i, n := range names {
		tests[i].ID = n
	}
	opts := testOptions()
	opts.Seed = seed
	got, _ := ids(t, open(t, opts, config.Tests{Inline: tests, Sample: size}))
	return got
}

func names(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("case-%d", i)
	}
	return out
}

func TestSampleNestedAndInOrder(t *testing.T) {
	all := names(500)
	prev := []string{}
	for _, size := range []int{1, 2, 10, 100, 499, 500, 501, 10_000} {
		got := sampleOf(t, 7, size, all)
		if len(got) != min(size, 500) {
			t.Fatalf("sample of %d has %d cases", size, len(got))
		}
		at := -1
		for _, id := range got {
			i := slices.Index(all, id)
			if i <= at {
				t.Fatalf("sample of %d is not in file order", size)
			}
			at = i
		}
		for _, id := range prev {
			if !slices.Contains(got, id) {
				t.Errorf("%s is in a smaller sample and not in that of %d", id, size)
			}
		}
		prev = got
	}
}

func TestSampleDoesNotDependOnOrder(t *testing.T) {
	all := names(300)
	want := sampleOf(t, 7, 30, all)
	slices.Sort(want)
	r := rand.New(rand.NewPCG(1, 2))
	for range 5 {
		r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		got := sampleOf(t, 7, 30, all)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestSampleDependsOnSeed(t *testing.T) {
	all := names(1000)
	a, b := sampleOf(t, 1, 100, all), sampleOf(t, 2, 100, all)
	common := 0
	for _, id := range a {
		if slices.Contains(b, id) {
			common++
		}
	}
	if common > 30 { // 10 expected, standard deviation 2.7
		t.Errorf("%d of 100 in common", common)
	}
}

// Over many seeds every case must be chosen equally often: chi-squared over 200 cases, 400 seeds and
// samples of 20, with the variance of drawing without replacement.
func TestSampleUniform(t *testing.T) {
	const n, size, seeds = 200, 20, 400
	all := names(n)
	count := map[string]int{}
	for seed := range seeds {
		smp := newSampler(size, int64(seed))
		for i, id := range all {
			smp.offer(i, id, [32]byte{})
		}
		for _, tk := range smp.h {
			count[all[tk.row]]++
		}
	}
	p := float64(size) / n
	chi := 0.0
	for _, id := range all {
		d := float64(count[id]) - seeds*p
		chi += d * d / (seeds * p * (1 - p))
	}
	if z := (chi - n) / math.Sqrt(2*n); math.Abs(z) > 4 {
		t.Errorf("chi-squared %.1f over %d cases (z = %.1f)", chi, n, z)
	}
}

func TestFilter(t *testing.T) {
	f := func(filterTags, tags string, want bool) {
		t.Helper()
		flt, err := newFilter(config.Pos{}, strings.Fields(filterTags))
		if err != nil {
			t.Fatal(err)
		}
		if got := flt.match(strings.Fields(tags)); got != want {
			t.Errorf("filter %q on %q: %v", filterTags, tags, got)
		}
	}
	f("", "", true)
	f("", "a", true)
	f("a", "", false)
	f("a", "a b", true)
	f("a", "A", false)
	f("a b", "b a", true)
	f("a b", "a", false)
	f("!a", "", true)
	f("!a", "b", true)
	f("!a", "b a", false)
	f("a !b", "a", true)
	f("a !b", "a b", false)
	f("a !a", "a", false)
}
