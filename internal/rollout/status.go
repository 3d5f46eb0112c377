package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/stats"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// How a signal stands: values of SignalStatus.State.
const (
	NoData      = "no data"
	Learning    = "learning" // the baseline's quantile
	Open        = "undecided"
	Within      = "within margin"
	Worse       = "worse"
	WorseWithin = "worse, within margin"
	Both        = "both arms"
)

// SignalStatus is how a signal stands. Numbers that are not there are nil.
type SignalStatus struct {
	Name  string `json:"name"`
	Role  string `json:"role"`
	State string `json:"state"`
	// LogE is ln of the e-value of "no worse" now, Peak the highest that it was, Bar where a critical signal rolls back,
	// and LogMargin ln of the e-value of "worse by the margin".
	LogE      float64  `json:"log_e"`
	Peak      float64  `json:"peak_log_e"`
	Bar       *float64 `json:"bar,omitempty"`
	LogMargin *float64 `json:"log_e_margin,omitempty"`
	// Baseline and Candidate are outcomes and the mean badness of each: a rate, or the distance from the best score.
	BaselineN     int64    `json:"baseline_n"`
	CandidateN    int64    `json:"candidate_n"`
	BaselineRate  *float64 `json:"baseline_rate,omitempty"`
	CandidateRate *float64 `json:"candidate_rate,omitempty"`
	// StageN is the candidate's outcomes in this stage.
	StageN int64 `json:"stage_n"`
	// Low and High are the 95% confidence sequence of candidate minus baseline, on the same scale.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Threshold is the frozen quantile of the baseline.
	Threshold *float64 `json:"threshold,omitempty"`
	Invalid   int64    `json:"invalid,omitempty"`
}

// round keeps six digits: a status is for reading, and is kept in the history.
func round(x float64) *float64 {
	if math.Abs(x) < 1e-12 || !stats.Finite(x) {
		return new(0.0)
	}
	scale := math.Pow(10, 6-math.Ceil(math.Log10(math.Abs(x))))
	if r := math.Round(x*scale) / scale; stats.Finite(r) {
		return &r
	}
	return &x
}

// Statuses are the states of all signals, in the document's order.
func (s *State) Statuses() []SignalStatus {
	out := make([]SignalStatus, len(s.Signals))
	for i, g := range s.Signals {
		out[i] = g.status(s.Doc.PromotionAlpha)
		if s.BothArms == g.Name {
			out[i].State = Both
		}
	}
	return out
}

func (s *signal) status(promotion float64) SignalStatus {
	now := s.logE()
	out := SignalStatus{
		Name: s.Name, Role: s.doc.Role, State: Open, LogE: *round(now), Peak: *round(max(s.peak(), now)), StageN: s.Stage[stats.Canary],
		BaselineN: s.Seen[stats.Control], CandidateN: s.Seen[stats.Canary], Invalid: s.Invalid,
	}
	if s.alpha > 0 {
		out.Bar = round(-math.Log(s.alpha))
	}
	if log, ok := s.logMargin(); ok {
		out.LogMargin = round(log)
	}
	for arm, to := range []**float64{&out.BaselineRate, &out.CandidateRate} {
		if s.Seen[arm] > 0 {
			*to = round(s.Sum[arm] / float64(s.Seen[arm]))
		}
	}
	if i, ok := s.difference(1 - stats.Level); ok {
		out.Low, out.High = round(i.Low), round(i.High)
	}
	if s.Frozen != nil && s.Frozen.Ready {
		out.Threshold = round(s.Frozen.Threshold)
	}
	rejected, within := s.alpha > 0 && s.rejects(s.alpha), s.within(promotion)
	switch {
	case s.Frozen != nil && !s.Frozen.Ready:
		out.State = Learning
	case s.Seen[stats.Control] == 0 || s.Seen[stats.Canary] == 0:
		out.State = NoData
	case rejected && within:
		out.State = WorseWithin
	case rejected:
		out.State = Worse
	case within:
		out.State = Within
	}
	return out
}

// Judgement is what a router outside is told: a verdict on the rollout, and on each signal by name.
type Judgement struct {
	verdict.Decision
	Signals []verdict.Decision `json:"signals"`
	// Guarantee says in what the verdict can be trusted less than usually; see State.Guarantee.
	Guarantee string `json:"guarantee,omitempty"`
}

// Verdict is Fail when the candidate is to be withdrawn or was, Pass when the stage may be promoted or the rollout is done,
// and Undecided otherwise. A rollout that was aborted is a Fail: a router must not go on with it.
func (s *State) Verdict() Judgement {
	out := Judgement{Decision: verdict.Decision{Reason: "not decided yet"}, Guarantee: s.Guarantee()}
	for i, st := range s.Statuses() {
		out.Signals = append(out.Signals, s.Signals[i].verdict(st))
	}
	switch s.Phase {
	case RolledBack, Aborted:
		out.Verdict, out.Reason = verdict.Fail, s.lastWhy(s.Phase)
		return out
	case Done:
		out.Verdict, out.Reason = verdict.Pass, s.lastWhy(s.Phase)
		return out
	case Pending:
		out.Reason = "not started"
		return out
	}
	if why, bad := s.harm(); bad {
		out.Verdict, out.Reason = verdict.Fail, why
		return out
	}
	if s.phase() == Baking {
		out.Reason = "baking at 100%"
		return out
	}
	basis, why := s.promotable(s.elapsed())
	out.Reason = why
	if basis != "" && s.Phase != Paused {
		out.Verdict, out.Want = verdict.Pass, basis
	}
	if s.Phase == Paused {
		out.Reason = "paused"
	}
	return out
}

// elapsed is how long the stage has run, without pauses.
func (s *State) elapsed() time.Duration {
	if s.Phase == Paused {
		return s.PausedAt.Sub(s.Since)
	}
	return s.Now.Sub(s.Since)
}

func (s *signal) verdict(st SignalStatus) verdict.Decision {
	d := verdict.Decision{Metric: s.Name, Reason: st.State, Value: new(math.Exp(math.Min(s.logE(), 700)))}
	switch st.State {
	case Worse:
		d.Verdict = verdict.Fail
	case Within, WorseWithin:
		d.Verdict = verdict.Pass
	}
	if s.doc.Role == config.RoleCritical {
		d.Want = fmt.Sprintf("e-value below %.4g", 1/s.alpha)
	}
	return d
}
