package config

import (
	"fmt"
	"maps"
)

// Who decides which variant answers a request: values of Rollout.AssignedBy.
const (
	AssignedByTelltale = "telltale" // the gateway, which notes with what chance
	AssignedByOutside  = "outside"  // another router, which tells nobody
)

// openWeight stands for the weight of a stage that only the router outside knows.
const openWeight = "open"

// Match tells the exchanges of a rollout's arms apart where a router outside shared them out.
type Match struct {
	Baseline, Candidate ArmMatch
}

// ArmMatch is what every exchange of an arm carries: all that is set, and at least one.
type ArmMatch struct {
	Snapshot string // id
	Model    string // as it was asked for
	Served   string // the model that the provider says it served
	Tags     map[string]string
}

// Outside says whether another router than telltale's shares out the requests.
func (r *Rollout) Outside() bool { return r.AssignedBy == AssignedByOutside }

// Open says whether only the router outside knows the stage's weight.
func (s Stage) Open() bool { return !s.Shadow && s.Weight == 0 }

type wireMatch struct {
	Pos       Pos           `json:"-"`
	Baseline  *wireArmMatch `json:"baseline" jsonschema:"description=What the baseline's exchanges carry"`
	Candidate *wireArmMatch `json:"candidate" jsonschema:"description=What the candidate's exchanges carry"`
}

type wireArmMatch struct {
	Pos      Pos               `json:"-"`
	Snapshot wireText          `json:"snapshot,omitempty" jsonschema:"description=Id of the snapshot"`
	Model    wireText          `json:"model,omitempty" jsonschema:"description=Model as it was asked for"`
	Served   wireText          `json:"served,omitempty" jsonschema:"description=Model that the provider says it served"`
	Tags     map[string]string `json:"tags,omitempty" jsonschema:"description=Tags by name; in OpenTelemetry the attributes telltale.tag.NAME"`
}

// outside reads what belongs to a rollout whose requests another router shares out.
func (l *rolloutLoader) outside(w *wireRollout, r *Rollout) {
	if !r.Outside() {
		if w.Match != nil {
			l.fail(w.Match.Pos, "", "match is for requests that another router shares out", "assigned_by: outside, or no match")
		}
		return
	}
	r.Override = false
	for _, not := range []struct {
		key   string
		given bool
		want  string
	}{
		{"shadow", w.Shadow != nil, "copies are made by telltale's gateway only"},
		{"sentinels", w.Sentinels != nil, "sentinels need variants of telltale's gateway"},
		{"bake", w.Bake.Given, "promote ends the last stage"},
		{"override", w.Override != nil && *w.Override, "the router outside decides who gets what"},
	} {
		if not.given {
			l.fail(w.Pos.At(not.key), "", "not possible with assigned_by: outside", "none: "+not.want)
		}
	}
	if r.Candidate == Baseline {
		l.fail(w.Candidate.Pos, r.Candidate, "the candidate has the baseline's name", "a name of its own, such as v2")
	}
	if r.Bake = 0; r.Undecided == UndecidedPromote {
		l.fail(w.Undecided.Pos, r.Undecided, "stages do not go on by themselves with assigned_by: outside", "hold, extend or abort")
	}
	if w.Match == nil {
		l.fail(w.Pos.At("match"), "", "nothing tells the arms apart", "match with baseline and candidate, such as {baseline: {tags: {version: v1}}, candidate: {tags: {version: v2}}}")
		return
	}
	l.places["match.baseline"], l.places["match.candidate"] = w.Match.Pos.At("baseline"), w.Match.Pos.At("candidate")
	r.Match.Baseline, r.Match.Candidate = l.armMatch(w.Match.Baseline, w.Match.Pos, "baseline"), l.armMatch(w.Match.Candidate, w.Match.Pos, "candidate")
	if a, b := &r.Match.Baseline, &r.Match.Candidate; a.sets() && b.sets() && !a.excludes(b) {
		l.fail(w.Match.Pos.At("candidate"), "", "an exchange could be of both arms", "a snapshot, model, served model or tag that both name, with different values")
	}
}

func (l *rolloutLoader) armMatch(w *wireArmMatch, parent Pos, key string) ArmMatch {
	const want = "snapshot, model, served or tags"
	if w == nil {
		l.fail(parent.At(key), "", "nothing says which exchanges are of this arm", want)
		return ArmMatch{}
	}
	m := ArmMatch{Snapshot: w.Snapshot.Text, Model: w.Model.Text, Served: w.Served.Text, Tags: w.Tags}
	for _, name := range sortedKeys(m.Tags) {
		if name == "" || m.Tags[name] == "" {
			l.fail(w.Pos.At("tags"), name, "a tag without name or value", "such as version: v2")
		}
	}
	if !m.sets() {
		l.fail(w.Pos, "", "nothing says which exchanges are of this arm", want)
	}
	return m
}

func (m *ArmMatch) sets() bool {
	return m.Snapshot != "" || m.Model != "" || m.Served != "" || len(m.Tags) > 0
}

// excludes says whether no exchange can be of both.
func (m *ArmMatch) excludes(o *ArmMatch) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	for name, v := range m.Tags {
		if differ(v, o.Tags[name]) {
			return true
		}
	}
	return differ(m.Snapshot, o.Snapshot) || differ(m.Model, o.Model) || differ(m.Served, o.Served)
}

// Of says whether what an exchange carries is this arm's.
func (m *ArmMatch) Of(snapshot, model, served string, tags map[string]string) bool {
	if m.Snapshot != "" && m.Snapshot != snapshot || m.Model != "" && m.Model != model || m.Served != "" && m.Served != served {
		return false
	}
	for name, v := range m.Tags {
		if tags[name] != v {
			return false
		}
	}
	return m.sets()
}

func (m *ArmMatch) json() *armMatchJSON {
	return &armMatchJSON{m.Snapshot, m.Model, m.Served, maps.Clone(m.Tags)}
}

type (
	matchJSON struct {
		Baseline  *armMatchJSON `json:"baseline"`
		Candidate *armMatchJSON `json:"candidate"`
	}
	armMatchJSON struct {
		Snapshot string            `json:"snapshot,omitempty"`
		Model    string            `json:"model,omitempty"`
		Served   string            `json:"served,omitempty"`
		Tags     map[string]string `json:"tags,omitempty"`
	}
)

// checkMatch says whether the server keeps the tags that tell the arms apart as they are.
func (r *Rollout) checkMatch(s *Server) Errors {
	var errs Errors
	for _, arm := range []struct {
		key string
		m   *ArmMatch
	}{{"match.baseline", &r.Match.Baseline}, {"match.candidate", &r.Match.Candidate}} {
		for _, name := range sortedKeys(arm.m.Tags) {
			field := "tags." + name
			mode := s.Privacy.Fields[field]
			if of, ok := s.Privacy.Routes[r.Route]; ok && of.Fields[field] != "" {
				mode = of.Fields[field]
			}
			if mode != "" && mode != "keep" {
				errs = append(errs, &Error{Pos: r.Place(arm.key), Value: name, Problem: fmt.Sprintf("the server does not keep this tag as it is (privacy.fields.%s: %s)", field, mode), Want: "another tag, snapshot, model or served"})
			}
		}
	}
	return errs
}
