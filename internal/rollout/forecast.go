package rollout

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/stats"
)

// Prospect is what is known of a route's traffic before a rollout.
type Prospect struct {
	// Requests an hour, of both arms.
	Requests float64
	// Rates are the baseline's, by signal: of an event, or the mean distance of scores from the best. Signals without one are taken
	// to have AssumedRate or AssumedDistance, and those about a quantile what it says.
	Rates map[string]float64
	// Worse is how much worse than the baseline the candidate is that is to be found, as a difference; 0 for each signal's margin.
	Worse float64
	// Learnt says that the baseline's quantiles are known before the rollout.
	Learnt bool
	Seed   uint64
}

// AssumedRate is taken for the rate of an event of which nothing is known, AssumedDistance for the mean distance of scores from the best.
const (
	AssumedRate     = 0.01
	AssumedDistance = 0.2
)

const (
	forecastScoreSD    = 0.2 // of single scores, where their mean allows it
	forecastPromotions = 9   // simulated rollouts of a candidate that is alike
	forecastDetections = 15  // of one that is worse, for each signal and stage
	// forecastLong and forecastShort bound the requests of each of them. Where the least durations of the stages hold more than
	// forecastEnough, traffic is thinned to that: time decides there, not evidence.
	forecastLong   = 1_000_000
	forecastShort  = 200_000
	forecastEnough = 500_000
	// forecastBeyond is how much more than the information bound the e-process takes in the median, as `make bench-rollout` shows.
	forecastBeyond = 1.15
)

// Forecast is what a rollout can be expected to take and to see.
type Forecast struct {
	Rollout  string           `json:"rollout"`
	Requests float64          `json:"requests_per_hour"`
	Alpha    float64          `json:"alpha"`
	Signals  []ForecastSignal `json:"signals"`
	Stages   []ForecastStage  `json:"stages"`
	// Promoted is the share of the simulated rollouts with a candidate alike that reached 100%, of Simulated; Hours the median
	// time until the end of the bake time, and P90Hours the time in which nine of ten are there; nil when fewer are.
	Promoted  float64  `json:"promoted"`
	Simulated int      `json:"simulated"`
	Hours     *float64 `json:"hours"`
	P90Hours  *float64 `json:"p90_hours"`
	// Warnings say what a stage cannot do.
	Warnings []string `json:"warnings"`
}

// ForecastSignal is a critical signal with what it is supposed to be like.
type ForecastSignal struct {
	Name     string  `json:"name"`
	Baseline float64 `json:"baseline"`
	Assumed  bool    `json:"assumed,omitempty"` // nothing was known of the baseline
	Margin   float64 `json:"margin"`            // as a difference
	Worse    float64 `json:"worse"`             // the candidate's that is to be found
}

// ForecastStage is what a stage takes and sees.
type ForecastStage struct {
	Name string `json:"name"`
	// SampleHours is the time until a critical signal has the stage's sample.
	SampleHours float64 `json:"sample_hours"`
	MaxHours    float64 `json:"max_hours"`
	// StayHours is how long a candidate that is alike stays, in the median of the simulated rollouts that leave the stage; nil when most stay.
	StayHours *float64       `json:"stay_hours"`
	Sees      []ForecastSees `json:"sees"`
}

// ForecastSees is what a stage sees of a signal.
type ForecastSees struct {
	Signal string `json:"signal"`
	// AtSample and AtEnd are the smallest differences that are found, in the median, with the stage's sample and within its
	// longest time; nil when none is.
	AtSample *float64 `json:"at_sample"`
	AtEnd    *float64 `json:"at_end"`
	// Found is the share of the simulated rollouts in which the worse candidate is withdrawn within the stage's longest time, Hours
	// the median time until then; nil when most are not.
	Found float64  `json:"found"`
	Hours *float64 `json:"hours"`
}

// NewForecast simulates rollouts of a document with the decisions that State makes. The same arguments give the same forecast.
func NewForecast(doc *config.Rollout, p Prospect) (*Forecast, error) {
	switch {
	case doc == nil || doc.Kind != config.KindRollout:
		return nil, errors.New("rollout: the document is not a rollout")
	case !(p.Requests > 0) || math.IsInf(p.Requests, 0):
		return nil, fmt.Errorf("rollout %s: %v requests an hour: want a number above 0", doc.Name, p.Requests)
	}
	f := &forecaster{Prospect: p, doc: *doc}
	// What a forecast leaves out: delays of outcomes, units that come again, and sentinels.
	f.doc.Unit, f.doc.Sentinels, f.doc.Signals = config.UnitRequest, nil, slices.Clone(doc.Signals)
	for i := range f.doc.Signals {
		f.doc.Signals[i].Delay = 0
	}
	s, err := f.state(&f.doc)
	if err != nil {
		return nil, err
	}
	f.out = &Forecast{Rollout: doc.Name, Requests: p.Requests, Alpha: doc.Alpha, Warnings: []string{}}
	for i := range doc.Signals {
		base, assumed := f.rate(&doc.Signals[i])
		f.rates = append(f.rates, base)
		g := &doc.Signals[i]
		if g.Role != config.RoleCritical {
			continue
		}
		margin := g.Margin
		if g.Relative {
			margin *= base
		}
		worse := p.Worse
		if worse == 0 {
			worse = margin
		}
		f.critical = append(f.critical, i)
		f.out.Signals = append(f.out.Signals, ForecastSignal{g.Name, base, assumed, margin, min(base+worse, 0.999)})
	}
	for i := range doc.Stages {
		if doc.Stages[i].Shadow || doc.Stages[i].Weight < 1 {
			f.stage(s, i)
		}
	}
	f.promotions()
	return f.out, nil
}

// forecaster makes one forecast.
type forecaster struct {
	Prospect
	doc      config.Rollout
	rates    []float64 // of the baseline, by signal
	critical []int
	out      *Forecast
}

// rate is the baseline's of a signal.
func (f *forecaster) rate(g *config.Signal) (rate float64, assumed bool) {
	if p := quantile(g); p > 0 {
		return math.Round((1-p)*1e6) / 1e6, false
	}
	if r, ok := f.Rates[g.Name]; ok {
		return r, false
	}
	if g.Kind == config.SignalScore {
		return AssumedDistance, true
	}
	return AssumedRate, true
}

// state begins a simulated rollout.
func (f *forecaster) state(doc *config.Rollout) (*State, error) {
	start := Start{Baseline: Variant{Name: config.Baseline}, Candidate: Variant{Name: "candidate"}, Frozen: map[string]float64{}}
	for i := range doc.Signals {
		if g := &doc.Signals[i]; f.Learnt && quantile(g) > 0 && g.Threshold == 0 {
			start.Frozen[g.Name] = forecastThreshold(g)
		}
	}
	return New(doc, start, time.Unix(0, 0))
}

// forecastThreshold is the quantile of the baseline's simulated traffic.
func forecastThreshold(g *config.Signal) float64 {
	switch {
	case g.Threshold > 0:
		return g.Threshold
	case g.Kind == config.SignalOutputLength:
		return 1000
	case quantile(g) > 0.95:
		return 100
	}
	return 10
}

// share is the candidate's part of the outcomes in a stage, and how many outcomes there are an hour.
func (f *forecaster) share(st *config.Stage) (share, outcomes float64) {
	if st.Shadow {
		return 0.5, 2 * f.Requests * f.doc.Shadow.Share
	}
	return st.Weight, f.Requests
}

// stage says what a stage takes and sees, and warns.
func (f *forecaster) stage(s *State, i int) {
	st := &f.doc.Stages[i]
	share, outcomes := f.share(st)
	name := "shadow"
	if !st.Shadow {
		name = fmt.Sprintf("%g%%", math.Round(st.Weight*1e6)/1e4)
	}
	out := ForecastStage{Name: name, MaxHours: st.MaxDuration.Hours()}
	warn := func(format string, args ...any) {
		f.out.Warnings = append(f.out.Warnings, "stage "+name+": "+fmt.Sprintf(format, args...))
	}
	for j, k := range f.critical {
		g, about := &f.doc.Signals[k], &f.out.Signals[j]
		least := st.MinSamples
		if g.MinSamples > 0 {
			least = g.MinSamples
		}
		sample := float64(max(least, 1)) / share
		out.SampleHours = max(out.SampleHours, sample/outcomes)
		sees := ForecastSees{Signal: g.Name}
		sees.AtSample = f.smallest(g, about.Baseline, share, sample, s.Signals[k].alpha)
		sees.AtEnd = f.smallest(g, about.Baseline, share, outcomes*out.MaxHours, s.Signals[k].alpha)
		f.detect(&sees, i, k, about.Worse)
		out.Sees = append(out.Sees, sees)
		switch {
		case sees.AtEnd == nil:
			warn("it cannot see anything of %s: even a candidate that always has it is not found within %s", g.Name, span(st.MaxDuration))
		case *sees.AtEnd > 2*about.Margin && about.Margin > 0:
			warn("%s must be %.3g points worse to be found within %s; its margin is %.3g", g.Name, 100**sees.AtEnd, span(st.MaxDuration), 100*about.Margin)
		}
	}
	if out.SampleHours > out.MaxHours {
		warn("its sample takes %.3g hours at this traffic, and it is undecided after %s", out.SampleHours, span(st.MaxDuration))
	}
	f.out.Stages = append(f.out.Stages, out)
}

// span writes a duration without what is 0.
func span(d time.Duration) string {
	text := d.String()
	if rest, ok := strings.CutSuffix(text, "m0s"); ok {
		text = rest + "m"
	}
	if rest, ok := strings.CutSuffix(text, "h0m"); ok {
		text = rest + "h"
	}
	return text
}

// smallest is the least difference that so many outcomes show in the median: that whose information bound, with what the e-process takes
// beyond it, is no more than them.
func (f *forecaster) smallest(g *config.Signal, base, share, outcomes, alpha float64) *float64 {
	seen := func(worse float64) bool {
		information, ok := stats.RateInformation(base, worse, share)
		if g.Kind == config.SignalScore {
			information, ok = stats.ScoreInformation(base, worse, scoreSpread(base, worse), share)
		}
		if !ok {
			return false
		}
		bound, ok := stats.InformationBound(information, alpha)
		return ok && forecastBeyond*bound <= outcomes
	}
	low, high := base, 0.999
	if !seen(high) {
		return nil
	}
	for high-low > 1e-5 {
		if middle := (low + high) / 2; seen(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return new(high - base)
}

// scoreSpread is a standard deviation that scores of both means can have.
func scoreSpread(means ...float64) float64 {
	sd := forecastScoreSD
	for _, m := range means {
		sd = min(sd, 0.9*math.Sqrt(m*(1-m)))
	}
	return sd
}

// detect simulates a candidate that is worse in one signal, in one stage that nothing promotes.
func (f *forecaster) detect(sees *ForecastSees, stage, k int, worse float64) {
	doc := f.doc
	doc.Stages = []config.Stage{doc.Stages[stage], {Weight: 1}}
	doc.Stages[0].MinDuration, doc.Undecided = math.MaxInt64, config.UndecidedAbort
	doc.Stages[0].MaxDuration = time.Duration(min(float64(doc.Stages[0].MaxDuration), float64(math.MaxInt64/8)))
	doc.Signals = []config.Signal{doc.Signals[k]}
	// The signal's part of alpha stays what it is among the others.
	doc.Alpha = f.alphaOf(k)
	var hours []float64
	for run := range forecastDetections {
		s, err := f.state(&doc)
		if err != nil {
			return
		}
		world := f.world(&doc, f.rates[k:k+1], []float64{worse}, run, 1, forecastShort)
		if world.until(s, func() bool { return s.Phase.Final() }); s.Phase == RolledBack {
			hours = append(hours, s.Now.Sub(s.Since).Hours())
		}
	}
	sees.Found = float64(len(hours)) / forecastDetections
	sees.Hours = middleOf(hours, forecastDetections, 0.5)
}

func (f *forecaster) alphaOf(k int) float64 {
	total := 0.0
	supporting := false
	for i := range f.doc.Signals {
		switch g := &f.doc.Signals[i]; g.Role {
		case config.RoleCritical:
			total += g.AlphaShare
		case config.RoleSupporting:
			supporting = true
		}
	}
	if supporting {
		total += f.doc.SupportingShare
	}
	return f.doc.Alpha * f.doc.Signals[k].AlphaShare / total
}

// promotions simulates a candidate that is alike until it is at 100%.
func (f *forecaster) promotions() {
	least := 0.0
	for i := range f.doc.Stages {
		if st := &f.doc.Stages[i]; st.Shadow || st.Weight < 1 {
			least += st.MinDuration.Hours()
		}
	}
	thin := max(1, f.Requests*least/forecastEnough)
	stays := make([][]float64, len(f.out.Stages))
	var hours []float64
	for run := range forecastPromotions {
		s, err := f.state(&f.doc)
		if err != nil {
			return
		}
		world := f.world(&f.doc, f.rates, f.rates, 1000+run, thin, forecastLong)
		for !s.Phase.Final() && s.Phase != Baking {
			stage, since := s.Stage, s.Since
			if !world.until(s, func() bool { return s.Phase.Final() || s.Undecided || s.Phase != Pending && s.Stage != stage }) || s.Stage == stage {
				break
			}
			stays[stage] = append(stays[stage], s.Since.Sub(since).Hours())
		}
		if s.Phase == Baking {
			hours = append(hours, s.Since.Sub(s.Created).Hours()+f.doc.Bake.Hours())
		}
	}
	f.out.Simulated = forecastPromotions
	f.out.Promoted = float64(len(hours)) / forecastPromotions
	f.out.Hours, f.out.P90Hours = middleOf(hours, forecastPromotions, 0.5), middleOf(hours, forecastPromotions, 0.9)
	for i := range f.out.Stages {
		f.out.Stages[i].StayHours = middleOf(stays[i], len(stays[i]), 0.5)
	}
	if f.out.Promoted < 0.5 {
		f.out.Warnings = append(f.out.Warnings, fmt.Sprintf("a candidate that is no worse reaches 100%% in %d of %d simulated rollouts", len(hours), forecastPromotions))
	}
}

// middleOf is a quantile of what was seen, where what was not seen of so many is beyond all; nil when it is that.
func middleOf(seen []float64, of int, q float64) *float64 {
	i := int(math.Ceil(q*float64(of))) - 1
	if i < 0 || i >= len(seen) {
		return nil
	}
	slices.Sort(seen)
	return &seen[i]
}

// world makes traffic of which the rates are known.
type world struct {
	doc        *config.Rollout
	arms       [2][]float64 // rates of each arm, by signal
	every      time.Duration
	step       int // requests between two decisions
	rng        *rand.Rand
	requests   int
	most       int // requests
	thresholds []float64
}

func (f *forecaster) world(doc *config.Rollout, baseline, candidate []float64, run int, thin float64, most int) *world {
	w := &world{doc: doc, most: most, arms: [2][]float64{baseline, candidate}, rng: rand.New(rand.NewPCG(f.Seed, uint64(run)))} //nolint:gosec // run is small
	w.every = time.Duration(min(max(float64(time.Hour)/f.Requests*thin, 1), float64(24*365*time.Hour)))
	// As often as the server decides, and a hundred times an hour at least.
	w.step = int(min(max(1, float64(time.Second)/float64(w.every)), float64(most)))
	for i := range doc.Signals {
		w.thresholds = append(w.thresholds, forecastThreshold(&doc.Signals[i]))
	}
	return w
}

// until gives a rollout traffic and time until something holds. It says whether that was before the traffic's bound.
func (w *world) until(s *State, held func() bool) bool {
	Step(s, s.Now)
	for now := s.Now; !held(); {
		for range w.step {
			if w.requests++; w.requests > w.most {
				return false
			}
			now = now.Add(w.every)
			w.exchange(s, now)
		}
		Step(s, now)
	}
	return true
}

// exchange observes one request: in a shadow stage both answers to it.
func (w *world) exchange(s *State, now time.Time) {
	st := &w.doc.Stages[s.Stage]
	e := record.Evidence{ID: strconv.Itoa(w.requests), Kind: record.EvidenceExchange, Time: now, Route: w.doc.Route, Rollout: w.doc.Name, Stage: s.Stage, Variant: config.Baseline}
	if st.Shadow {
		if w.rng.Float64() >= w.doc.Shadow.Share {
			return
		}
		other := e
		other.ID, other.Variant, other.Paired = "s"+e.ID, record.VariantShadow, e.ID
		w.answer(&e, 0)
		w.answer(&other, 1)
		s.Observe(e)
		s.Observe(other)
		return
	}
	arm := 0
	e.Propensity = st.Weight
	if w.rng.Float64() < st.Weight {
		arm, e.Variant = 1, s.Candidate.Name
	}
	if e.Unrouted = w.doc.Outside(); e.Unrouted {
		e.Propensity = 0
	}
	w.answer(&e, arm)
	s.Observe(e)
}

// answer draws what becomes of a request, each signal by itself.
func (w *world) answer(e *record.Evidence, arm int) {
	e.Status, e.FinishReason = 200, "stop"
	e.Cost, e.OutputTokens = new(0.0), new(0)
	e.Latency, e.TTFT = w.time(arm, config.SignalLatencyP95, config.SignalLatencyP99), w.time(arm, config.SignalTTFTP95, config.SignalTTFTP99)
	for i := range w.doc.Signals {
		g := &w.doc.Signals[i]
		rate := w.arms[arm][i]
		if g.Kind == config.SignalScore {
			w.score(e, g, rate)
			continue
		}
		hit := w.rng.Float64() < rate
		switch g.Kind {
		case config.SignalErrorRate:
			if hit {
				e.Status, e.ErrorKind = 500, record.Server
			}
		case config.SignalAbandonment:
			e.Canceled = hit
		case config.SignalRetries:
			if hit {
				e.Retries = 1
			}
		case config.SignalTruncation:
			if hit {
				e.FinishReason = "length"
			}
		case config.SignalLatencyP95, config.SignalLatencyP99, config.SignalTTFTP95, config.SignalTTFTP99: // below
		case config.SignalCost, config.SignalOutputLength:
			x := w.thresholds[i] * w.rng.Float64()
			if hit != (g.Worse == "lower") {
				x += w.thresholds[i]
			}
			if *e.Cost = x; g.Kind == config.SignalOutputLength {
				*e.OutputTokens = int(x)
			}
		case config.SignalRefusal:
			if g.Score == "" {
				e.Refused = hit
				continue
			}
			// A check for refusals passes on one, unless it is the negated check.
			e.Scores = append(e.Scores, record.EvidenceScore{Name: g.Score, Pass: new(hit != strings.HasPrefix(g.Score, "not-"))})
		default:
			e.Scores = append(e.Scores, record.EvidenceScore{Name: g.Score, Pass: new(!hit)})
		}
	}
}

// time draws how long an answer takes, so that it is beyond either quantile at its rate.
func (w *world) time(arm int, p95, p99 string) *float64 {
	var rate, beyond [2]float64
	for i := range w.doc.Signals {
		switch w.doc.Signals[i].Kind {
		case p95:
			rate[0], beyond[0] = w.arms[arm][i], w.thresholds[i]
		case p99:
			rate[1], beyond[1] = w.arms[arm][i], w.thresholds[i]
		}
	}
	if beyond[0] == 0 {
		beyond[0] = beyond[1] / 10
	}
	u, v := w.rng.Float64(), w.rng.Float64()
	switch {
	case u < rate[1]:
		v = beyond[1] * (1 + v)
	case u < rate[0] && beyond[1] > 0: // between the two
		v = beyond[0] + v*(beyond[1]-beyond[0])
	case u < rate[0]:
		v = beyond[0] * (1 + v)
	default:
		v *= beyond[0] / 2
	}
	return &v
}

// score draws a score of which the mean distance from the best is given, on either side of it.
func (w *world) score(e *record.Evidence, g *config.Signal, bad float64) {
	sd := min(forecastScoreSD, bad, 1-bad)
	if w.rng.IntN(2) == 0 {
		sd = -sd
	}
	if bad += sd; g.Worse == "lower" {
		bad = 1 - bad
	}
	e.Scores = append(e.Scores, record.EvidenceScore{Name: g.Score, Value: &bad})
}
