package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/telltale-llm/telltale/internal/actuator"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// Rollouts starts, shows and changes rollouts. Its errors are RolloutErrors where a caller can do something about them.
type Rollouts interface {
	List(ctx context.Context) ([]Rollout, error)
	Get(ctx context.Context, name string) (Rollout, error)
	// Start begins the rollout of a document, in YAML or JSON.
	Start(ctx context.Context, document []byte, by, why string) (Rollout, error)
	Command(ctx context.Context, name string, c rollout.Command) (Rollout, error)
	History(ctx context.Context, name string) ([]rollout.Transition, error)
}

// RolloutError is a request about a rollout that cannot be met, with the HTTP status that says so: 404, 409 or 422.
type RolloutError struct {
	Status int
	Err    error
}

func (e *RolloutError) Error() string { return e.Err.Error() }
func (e *RolloutError) Unwrap() error { return e.Err }

// Rollout is how a rollout stands.
type Rollout struct {
	Name      string   `json:"name"`
	Kind      string   `json:"kind" doc:"rollout or experiment"`
	Route     string   `json:"route"`
	Baseline  string   `json:"baseline,omitempty"`
	Candidate string   `json:"candidate,omitempty"`
	Phase     string   `json:"phase" doc:"pending, shadow, running, baking, paused, done, rolled_back or aborted"`
	Stage     int      `json:"stage" doc:"From 0"`
	Stages    []string `json:"stages" doc:"What each stage gives to the candidate: shadow or a share"`
	Weight    float64  `json:"weight" doc:"Share of the units that the candidate answers now; 0 where only a router outside knows it"`
	// AssignedBy is outside where another router than telltale's shares out the requests.
	AssignedBy string    `json:"assigned_by,omitempty" doc:"telltale or outside"`
	Guarantee  string    `json:"guarantee,omitempty" doc:"In what the decisions can be trusted less than usually, where another router shares out the requests"`
	Created    time.Time `json:"created"`
	Since      time.Time `json:"since" doc:"Start of the stage"`
	// Undecided says that the stage is at its end without a decision.
	Undecided bool   `json:"undecided,omitempty"`
	BothArms  string `json:"both_arms,omitempty" doc:"Signal that became far worse in both arms"`
	// Decision is what a router outside is told; an experiment has none.
	Decision *rollout.Judgement     `json:"decision,omitempty"`
	Signals  []rollout.SignalStatus `json:"signals,omitempty"`
	Taken    int64                  `json:"taken" doc:"Pieces of evidence that were taken"`
	Refused  map[string]int64       `json:"refused,omitempty" doc:"Pieces of evidence that were not, by reason"`
	Targets  []actuator.TargetState `json:"targets,omitempty" doc:"How far what lies outside the gateway has followed; known to the process that leads"`
	Document map[string]any         `json:"document" doc:"The rollout's document with its defaults"`
	// Sentinels are nil for a rollout that has none.
	Sentinels *Sentinels `json:"sentinels,omitempty"`
	// Result is an experiment's.
	Result *rollout.Result `json:"result,omitempty"`
}

// Sentinels are critical cases that are replayed against both variants, with their latest results.
type Sentinels struct {
	Suite string         `json:"suite"`
	Cases []SentinelCase `json:"cases"`
	Last  *time.Time     `json:"last,omitempty" doc:"When they were replayed last"`
	Error string         `json:"error,omitempty" doc:"Why the last replay, or a part of it, has no result; that is no evidence against the candidate"`
}

// SentinelCase says whether each variant passed a case; null is not known.
type SentinelCase struct {
	Case      string `json:"case"`
	Baseline  *bool  `json:"baseline,omitempty"`
	Candidate *bool  `json:"candidate,omitempty"`
}

// Sort orders the cases by name.
func (s *Sentinels) Sort() {
	slices.SortFunc(s.Cases, func(a, b SentinelCase) int { return strings.Compare(a.Case, b.Case) })
}

func registerRollouts(a huma.API, s *server) {
	const path = "/v1/rollouts"
	op := func(id, method, path, summary string, errors ...int) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Errors: append(errors, http.StatusServiceUnavailable)}
	}
	huma.Register(a, op("list-rollouts", http.MethodGet, path, "Rollouts, newest first"), s.listRollouts)
	start := op("start-rollout", http.MethodPost, path, "Start a rollout of a document in YAML or JSON", 409, 422)
	start.DefaultStatus = http.StatusCreated
	huma.Register(a, start, s.startRollout)
	huma.Register(a, op("get-rollout", http.MethodGet, path+"/{name}", "How a rollout stands", 404), s.getRollout)
	huma.Register(a, op("rollout-history", http.MethodGet, path+"/{name}/history", "Every transition with what was known then, oldest first", 404), s.rolloutHistory)
	huma.Register(a, op("rollout-verdict", http.MethodGet, path+"/{name}/verdict", "The verdict for a router outside, such as Argo Rollouts' web metric: pass, fail or undecided", 404), s.rolloutVerdict)
	huma.Register(a, op("flagger-webhook", http.MethodPost, path+"/{name}/flagger/{hook}", "A webhook of Flagger's: 200 to go on, 409 to wait; for rollback 200 to roll back", 409), s.flagger)
	huma.Register(a, op("command-rollout", http.MethodPost, path+"/{name}/{command}", "Pause, resume, promote or abort a rollout", 404, 409, 422), s.commandRollout)
}

var errExperiment = errors.New("an experiment has no verdict")

var errNoRollouts = errors.New("rollouts are not available")

func (s *server) rollouts() (Rollouts, error) {
	if s.o.Rollouts == nil {
		return nil, huma.Error503ServiceUnavailable(errNoRollouts.Error())
	}
	r, err := s.o.Rollouts()
	if err != nil {
		return nil, huma.Error503ServiceUnavailable(errNoRollouts.Error() + ": " + err.Error())
	}
	return r, nil
}

// rolloutFailure turns an error into a problem document.
func rolloutFailure(err error) error {
	bad, ok := errors.AsType[*RolloutError](err)
	if !ok {
		return failure(err)
	}
	var details []error
	if list, ok := errors.AsType[config.Errors](bad.Err); ok {
		for _, e := range list {
			message := e.Problem
			if e.Want != "" {
				message += "; want " + e.Want
			}
			details = append(details, &huma.ErrorDetail{Location: strings.TrimSuffix("body."+e.Pos.Key, "."), Message: message, Value: e.Value})
		}
		return huma.NewError(bad.Status, "the document cannot be used", details...)
	}
	return huma.NewError(bad.Status, bad.Err.Error())
}

// RolloutName names a rollout in a path.
type RolloutName struct {
	Name string `path:"name" maxLength:"64"`
}

func (s *server) listRollouts(ctx context.Context, _ *struct{}) (*struct {
	Body struct {
		Rollouts []Rollout `json:"rollouts"`
	}
}, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	all, err := r.List(ctx)
	if err != nil {
		return nil, rolloutFailure(err)
	}
	out := new(struct {
		Body struct {
			Rollouts []Rollout `json:"rollouts"`
		}
	})
	out.Body.Rollouts = append([]Rollout{}, all...)
	return out, nil
}

func (s *server) getRollout(ctx context.Context, in *RolloutName) (*struct{ Body Rollout }, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	got, err := r.Get(ctx, in.Name)
	if err != nil {
		return nil, rolloutFailure(err)
	}
	return &struct{ Body Rollout }{got}, nil
}

type startRollout struct {
	By      string `query:"by" maxLength:"200" default:"api" doc:"Who starts it"`
	Why     string `query:"why" maxLength:"1000"`
	RawBody []byte `contentType:"application/yaml"`
}

func (s *server) startRollout(ctx context.Context, in *startRollout) (*struct{ Body Rollout }, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	got, err := r.Start(ctx, in.RawBody, in.By, in.Why)
	if err != nil {
		return nil, rolloutFailure(err)
	}
	return &struct{ Body Rollout }{got}, nil
}

type commandRollout struct {
	RolloutName
	Command string `path:"command" enum:"pause,resume,promote,abort"`
	Body    struct {
		By  string `json:"by" minLength:"1" maxLength:"200" doc:"Who asks"`
		Why string `json:"why,omitempty" maxLength:"1000"`
	}
}

func (s *server) commandRollout(ctx context.Context, in *commandRollout) (*struct{ Body Rollout }, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	got, err := r.Command(ctx, in.Name, rollout.Command{Kind: rollout.CommandKind(in.Command), By: in.Body.By, Why: in.Body.Why})
	if err != nil {
		return nil, rolloutFailure(err)
	}
	return &struct{ Body Rollout }{got}, nil
}

func (s *server) rolloutHistory(ctx context.Context, in *RolloutName) (*struct {
	Body struct {
		Transitions []rollout.Transition `json:"transitions"`
	}
}, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	all, err := r.History(ctx, in.Name)
	if err != nil {
		return nil, rolloutFailure(err)
	}
	out := new(struct {
		Body struct {
			Transitions []rollout.Transition `json:"transitions"`
		}
	})
	out.Body.Transitions = append([]rollout.Transition{}, all...)
	return out, nil
}

func (s *server) rolloutVerdict(ctx context.Context, in *RolloutName) (*struct{ Body rollout.Judgement }, error) {
	r, err := s.rollouts()
	if err != nil {
		return nil, err
	}
	got, err := r.Get(ctx, in.Name)
	if err != nil {
		return nil, rolloutFailure(err)
	}
	if got.Decision == nil {
		return nil, huma.Error404NotFound(in.Name + " is an experiment, which has no verdict")
	}
	return &struct{ Body rollout.Judgement }{*got.Decision}, nil
}

// flaggerInput leaves out Flagger's body, which says nothing that is needed.
type flaggerInput struct {
	RolloutName
	Hook string `path:"hook" enum:"confirm-rollout,pre-rollout,rollout,confirm-traffic-increase,confirm-promotion,post-rollout,rollback,event"`
}

// flagger answers 200 or 409 and nothing else, whatever happens: a rollout that is not known, or a bus that is down, is no reason
// to go on. The hook rollback is the other way round: 200 makes Flagger roll back, so only a verdict of fail gives it.
func (s *server) flagger(ctx context.Context, in *flaggerInput) (*struct {
	Status int
	Body   struct {
		Verdict string `json:"verdict"`
		Reason  string `json:"reason"`
	}
}, error) {
	out := new(struct {
		Status int
		Body   struct {
			Verdict string `json:"verdict"`
			Reason  string `json:"reason"`
		}
	})
	v := verdict.Undecided
	r, err := s.rollouts()
	var got Rollout
	if err == nil {
		got, err = r.Get(ctx, in.Name)
	}
	switch {
	case err != nil:
		out.Body.Reason = err.Error()
	case got.Decision == nil:
		err = errExperiment
		out.Body.Reason = err.Error()
	default:
		v, out.Body.Reason = got.Decision.Verdict, got.Decision.Reason
	}
	out.Body.Verdict = v.String()
	var ok bool
	switch in.Hook {
	case "rollback":
		ok = v == verdict.Fail
	case "confirm-traffic-increase", "confirm-promotion":
		ok = v == verdict.Pass
	case "rollout":
		// Asked at each of Flagger's checks: harm stops it, and so does having seen nothing.
		ok = err == nil && v != verdict.Fail && got.Taken > 0
	default: // before and after the traffic there is nothing to measure
		ok = err == nil && v != verdict.Fail
	}
	out.Status = http.StatusConflict
	if ok {
		out.Status = http.StatusOK
	}
	return out, nil
}
