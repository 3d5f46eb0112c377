package stats

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// stream is a procedure whose state can be written and taken up.
type stream interface {
	json.Marshaler
	json.Unmarshaler
}

// eprocess is a procedure for randomised traffic.
type eprocess interface {
	stream
	Update(arm Arm, pi, y float64) error
	LogE() float64
	PeakLogE() float64
	Rejects(alpha float64) bool
}

func marshal(t *testing.T, s stream) string {
	t.Helper()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// streams makes every streaming procedure, an empty one of its kind to read a state into, and how it is fed.
type streamCase struct {
	name string
	make func() stream
	zero func() stream
	feed func(s stream, r *rand.Rand) error
}

func streamCases() []streamCase {
	arms := func(s stream, r *rand.Rand) error {
		pi := []float64{.05, .25, .5}[r.IntN(3)]
		arm := drawArm(r, pi)
		return s.(eprocess).Update(arm, pi, bit(r.Float64() < .2))
	}
	outcome := func(s stream, r *rand.Rand) error {
		return s.(interface{ Update(float64) error }).Update(bit(r.Float64() < .02))
	}
	normal := func(s stream, r *rand.Rand) error {
		return s.(interface{ Update(float64) error }).Update(r.NormFloat64() + .2)
	}
	return []streamCase{
		{"conditional", func() stream { return must(NewConditional(ConditionalOptions{})) }, func() stream { return new(Conditional) }, arms},
		{"likelihood", func() stream { return must(NewLikelihood(LikelihoodOptions{})) }, func() stream { return new(Likelihood) }, arms},
		{"scores", func() stream { return must(NewScores(ScoresOptions{Better: LowerIsBetter})) }, func() stream { return new(Scores) },
			func(s stream, r *rand.Rand) error { return s.(eprocess).Update(drawArm(r, .3), .3, r.Float64()) }},
		{"mean sequence", func() stream { return must(NewMeanSequence(MeanSequenceOptions{Alpha: .05, Grid: 100})) }, func() stream { return new(MeanSequence) },
			func(s stream, r *rand.Rand) error { return s.(*MeanSequence).Update(r.Float64()) }},
		{"msprt", func() stream { return must(NewMSPRT(.02)) }, func() stream { return new(MSPRT) },
			func(s stream, r *rand.Rand) error { return s.(*MSPRT).Update(drawArm(r, .5), bit(r.Float64() < .1)) }},
		{"safe 2×2", func() stream { return must(NewSafe2x2(0)) }, func() stream { return new(Safe2x2) },
			func(s stream, r *rand.Rand) error { return s.(*Safe2x2).Update(r.IntN(2), 1, r.IntN(3), 2) }},
		{"Bernoulli CUSUM", func() stream { return must(NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, .03, 4})) }, func() stream { return new(BernoulliCUSUM) }, outcome},
		{"Shiryaev–Roberts", func() stream { return must(NewShiryaevRoberts(ShiryaevRobertsOptions{Baseline: .01, Threshold: 1000})) }, func() stream { return new(ShiryaevRoberts) }, outcome},
		{"normal CUSUM", func() stream { return must(NewNormalCUSUM(NormalCUSUMOptions{.5, 4})) }, func() stream { return new(NormalCUSUM) }, normal},
		{"EWMA", func() stream { return must(NewEWMA(EWMAOptions{.1, 2.8})) }, func() stream { return new(EWMA) }, normal},
		{"looks", func() stream { return must(NewGroupSequential(.025)) }, func() stream { return new(GroupSequential) },
			func(s stream, r *rand.Rand) error {
				g := s.(*GroupSequential)
				if g.Looks() == 5 {
					return nil
				}
				_, err := g.Look(float64(g.Looks()+1)*.2, r.NormFloat64())
				return err
			}},
	}
}

// A state taken up at any point goes on with the same bits, and its size does not grow with what was seen.
func TestStateContinues(t *testing.T) {
	for _, c := range streamCases() {
		t.Run(c.name, func(t *testing.T) {
			whole, broken := c.make(), c.make()
			a, b := rand.New(rand.NewPCG(5, 6)), rand.New(rand.NewPCG(5, 6))
			for i := range 400 {
				if i < 20 || i%37 == 0 {
					state := marshal(t, broken)
					broken = c.zero()
					ok(t, json.Unmarshal([]byte(state), broken))
					if again := marshal(t, broken); again != state {
						t.Fatalf("after %d: %s became %s", i, state, again)
					}
				}
				ok(t, c.feed(whole, a))
				ok(t, c.feed(broken, b))
				if w, b := marshal(t, whole), marshal(t, broken); w != b {
					t.Fatalf("after %d: %s, not %s", i+1, b, w)
				}
			}
			if n := len(marshal(t, whole)); n > 6000 {
				t.Errorf("a state of %d bytes", n)
			}
		})
	}
}

// A state that was cut, changed or is another procedure's is refused, and leaves what was there.
func TestStateRefusesDamage(t *testing.T) {
	cases := streamCases()
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := c.make()
			r := rand.New(rand.NewPCG(7, 8))
			for range 5 {
				ok(t, c.feed(s, r))
			}
			good := marshal(t, s)
			other := cases[(i+1)%len(cases)].make()
			bad := []string{
				"null", "{}", "[]", `""`, "", good[:len(good)-1], good + "x",
				marshal(t, other),
				strings.Replace(good, "{", `{"more":1,`, 1),
				strings.Replace(good, `"kind":"`, `"kind":"x`, 1),
				strings.Replace(good, `"kind":`, `"Kind":`, 1),
				good[:1] + good[strings.Index(good, ",")+1:], // without its kind
			}
			// Every number of it in turn: missing, negative, beyond all measure.
			for at := range good {
				if at > 0 && strings.ContainsRune(":[,", rune(good[at-1])) && (good[at] == '-' || good[at] >= '0' && good[at] <= '9') {
					end := at + strings.IndexAny(good[at:], ",]}")
					bad = append(bad, good[:at]+"null"+good[end:], good[:at]+`"1"`+good[end:], good[:at]+"1e400"+good[end:], good[:at]+"NaN"+good[end:])
				}
			}
			for _, b := range bad {
				into := c.zero()
				ok(t, json.Unmarshal([]byte(good), into))
				if err := json.Unmarshal([]byte(b), into); err == nil && b != good {
					t.Errorf("took %s", b)
				}
				// Unmarshal does not call UnmarshalJSON for what is not JSON.
				if err := into.UnmarshalJSON([]byte(b)); err == nil && b != good {
					t.Errorf("took %s", b)
				}
				if now := marshal(t, into); now != good {
					t.Errorf("%s left %s of %s", b, now, good)
				}
			}
		})
	}
}

// A state is taken up on another kind of processor too, whose logarithms differ in the last bit.
func TestStateOfAnotherProcessor(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	c := must(NewConditional(ConditionalOptions{}))
	m := must(NewMSPRT(.02))
	b := must(NewBernoulliCUSUM(BernoulliCUSUMOptions{.01, .03, 4}))
	for range 20 {
		ok(t, c.Update(Canary, .5, 1))
		ok(t, m.Update(drawArm(r, .5), bit(r.Float64() < .5)))
		ok(t, b.Update(0))
	}
	for _, up := range []float64{math.Inf(1), math.Inf(-1)} {
		d, n, s := *c, *m, *b
		d.peak, n.now, s.s = math.Nextafter(c.peak, up), math.Nextafter(m.now, up), math.Nextafter(b.s, up)
		n.peak = math.Max(n.peak, n.now)
		ok(t, new(Conditional).UnmarshalJSON([]byte(marshal(t, &d))))
		ok(t, new(MSPRT).UnmarshalJSON([]byte(marshal(t, &n))))
		ok(t, new(BernoulliCUSUM).UnmarshalJSON([]byte(marshal(t, &s))))
	}
}

// What an observation costs; a state of bounded size is one that no observation allocates for.
func BenchmarkUpdate(b *testing.B) {
	for _, c := range streamCases() {
		b.Run(c.name, func(b *testing.B) {
			s := c.make()
			r := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				if err := c.feed(s, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// No observation allocates, but for the numbers of a mixture at a new propensity the first time.
func TestUpdatesDoNotAllocate(t *testing.T) {
	for _, c := range streamCases() {
		s := c.make()
		r := rand.New(rand.NewPCG(1, 2))
		for range 20 {
			ok(t, c.feed(s, r))
		}
		if n := testing.AllocsPerRun(200, func() { ok(t, c.feed(s, r)) }); n > 0 {
			t.Errorf("%s allocates %v times an observation", c.name, n)
		}
	}
}

// A state with numbers that no stream of observations leads to.
func TestStateRefusesTheImpossible(t *testing.T) {
	f := func(into stream, state string) {
		t.Helper()
		if err := into.UnmarshalJSON([]byte(state)); err == nil {
			t.Errorf("took %s", state)
		}
	}
	const c = `{"kind":"conditional e-process","ratios":[3],"null":1,"n":%,"logs":[%],"peak":%}`
	fill := func(s string, with ...string) string {
		for _, w := range with {
			s = strings.Replace(s, "%", w, 1)
		}
		return s
	}
	ok(t, new(Conditional).UnmarshalJSON([]byte(fill(c, `4,"events":2`, "1.5", "2"))))
	f(new(Conditional), fill(c, `1,"events":2`, "1.5", "2"))   // more events than requests
	f(new(Conditional), fill(c, `4,"events":2`, "1.5", "1"))   // a peak below what it is now
	f(new(Conditional), fill(c, `4,"events":0`, "1.5", "2"))   // evidence from nothing
	f(new(Conditional), fill(c, `4,"events":2`, "1.5,1", "2")) // a part too many
	f(new(Conditional), fill(c, `4,"events":2`, "-1", "-0.5")) // a peak below the start
	const s = `{"kind":"Shiryaev–Roberts detector","baseline":0.01,"ratios":[3],"threshold":100,"n":5,"alarm_at":%,"r":[%]}`
	ok(t, new(ShiryaevRoberts).UnmarshalJSON([]byte(fill(s, "5", "200"))))
	f(new(ShiryaevRoberts), fill(s, "0", "200")) // an alarm that was lost
	f(new(ShiryaevRoberts), fill(s, "6", "200")) // one in the future
	const n = `{"kind":"normal CUSUM","k":0.5,"threshold":4,"n":5,"alarm_at":%,"up":%,"down":0}`
	ok(t, new(NormalCUSUM).UnmarshalJSON([]byte(fill(n, "0", "3"))))
	f(new(NormalCUSUM), fill(n, "0", "5"))
	f(new(NormalCUSUM), fill(n, "0", "-1"))
	const g = `{"kind":"group-sequential test","alpha":0.025,"fractions":[%],"rejected":%}`
	ok(t, new(GroupSequential).UnmarshalJSON([]byte(fill(g, "0.2,0.5", "1"))))
	f(new(GroupSequential), fill(g, "0.5,0.2", "1"))
	f(new(GroupSequential), fill(g, "0.2,0.5", "3"))
}

// Whatever is read, a state that is taken is one that is written the same, can be fed, and stays readable.
func FuzzState(f *testing.F) {
	cases := streamCases()
	for i, c := range cases {
		s := c.make()
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for range 3 {
			if err := c.feed(s, r); err != nil {
				f.Fatal(err)
			}
		}
		data, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), data)
	}
	f.Fuzz(func(t *testing.T, kind uint8, data []byte) {
		c := cases[int(kind)%len(cases)]
		s := c.zero()
		if s.UnmarshalJSON(data) != nil {
			return
		}
		marshal(t, s)
		r := rand.New(rand.NewPCG(1, 2))
		for range 3 {
			if c.feed(s, r) != nil {
				return
			}
		}
		ok(t, c.zero().UnmarshalJSON([]byte(marshal(t, s))))
	})
}
