package config

import (
	"errors"
	"strings"
	"testing"
	"time"
)

const routedOutside = `name: v2
route: shop
candidate: v2
assigned_by: outside
match:
  baseline: {tags: {version: v1}}
  candidate: {tags: {version: v2}}
`

func TestRolloutOutside(t *testing.T) {
	r, err := loadRollout(routedOutside)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Outside() || r.Override || r.Bake != 0 || len(r.Stages) != 1 || !r.Stages[0].Open() || r.Stages[0].MaxDuration != 24*time.Hour || r.Stages[0].MinSamples != 500 {
		t.Errorf("%+v", r)
	}
	roundTrip(t, r)
	r, err = loadRollout(strings.Replace(routedOutside, "{tags: {version: v2}}", "{snapshot: 0123456789abcdef, model: m, served: m-2, tags: {version: v2}}", 1) + "stages: [5%, {weight: 25%, min_samples: 10}]\nunit: user\n")
	if err != nil || len(r.Stages) != 2 || r.Stages[1].Weight != 0.25 || r.Match.Candidate.Served != "m-2" {
		t.Fatalf("%+v, %v", r, err)
	}
	roundTrip(t, r)
	// Its route and variants need not be the server's, but the scorers and what tells the arms apart must.
	if err := r.Check(&Server{}); err != nil {
		t.Error(err)
	}
	for _, s := range []Server{
		{Privacy: Privacy{Fields: map[string]string{"tags.version": "mask"}}},
		{Privacy: Privacy{Routes: map[string]Privacy{"shop": {Fields: map[string]string{"user": "remove"}}}}},
	} {
		err := r.Check(&s)
		if all, ok := errors.AsType[Errors](err); !ok || len(all) == 0 || all[0].Line == 0 {
			t.Errorf("%v", err)
		}
	}
}

func TestRolloutOutsideMistakes(t *testing.T) {
	f := func(old, with string, want ...string) {
		t.Helper()
		text := strings.Replace(routedOutside, old, with, 1)
		_, err := loadRollout(text)
		if err == nil {
			t.Errorf("taken:\n%s", text)
			return
		}
		for _, w := range append(want, "rollout.yaml") {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q is not in %v\n%s", w, err, text)
			}
		}
	}
	end := "{tags: {version: v2}}\n"
	f("match:\n  baseline: {tags: {version: v1}}\n  candidate: {tags: {version: v2}}\n", "", "match", "nothing tells the arms apart")
	f("  candidate: {tags: {version: v2}}\n", "", "match.candidate", "nothing says which")
	f("{tags: {version: v2}}", "{}", "nothing says which")
	f("{tags: {version: v2}}", "{tag: {version: v2}}", "tag", "unknown key")
	f("{tags: {version: v2}}", "{tags: {version: ''}}", "a tag without")
	f("{tags: {version: v2}}", "{tags: {version: v1}}", "of both arms")
	f("{tags: {version: v2}}", "{model: m}", "of both arms")
	f("outside", "outsid", "assigned_by", `did you mean "outside"?`)
	f("assigned_by: outside\n", "", "match", "another router")
	f("candidate: v2\n", "candidate: baseline\n", "candidate")
	f("candidate: v2\n", "candidate: baseline\nbaseline: v1\n", "the baseline's name")
	for _, more := range []string{"shadow: {share: 1%}", "sentinels: {suite: s.yaml}", "bake: 1h", "override: true"} {
		f(end, end+more+"\n", strings.Split(more, ":")[0], "not possible with assigned_by: outside")
	}
	f(end, end+"undecided: promote\n", "undecided", "do not go on by themselves")
	f(end, end+"stages: [shadow]\n", "shadow", "both arms must be seen")
	f(end, end+"stages: [5%, 100%]\n", "100%", "both arms must be seen")
	f(end, end+"stages: [5%, open]\n", "open", "not the only one")
	f(end, end+"stages: [25%, 5%]\n", "out of order")
	if _, err := loadRollout("name: r\nroute: main\ncandidate: new\nstages: [open]\n"); err == nil {
		t.Error("an open stage of telltale's own")
	}
	if _, err := loadRollout(trial + "assigned_by: outside\n"); err == nil || !strings.Contains(err.Error(), "belongs to a rollout") {
		t.Error(err)
	}
}

func TestArmMatch(t *testing.T) {
	f := func(m ArmMatch, tags map[string]string, want bool) {
		t.Helper()
		if got := m.Of("s", "m", "m-1", tags); got != want {
			t.Errorf("%+v of %v: %v", m, tags, got)
		}
	}
	f(ArmMatch{}, nil, false)
	f(ArmMatch{Model: "m"}, nil, true)
	f(ArmMatch{Model: "m", Served: "m-1", Snapshot: "s"}, nil, true)
	f(ArmMatch{Model: "m", Served: "m-2"}, nil, false)
	f(ArmMatch{Snapshot: "t"}, nil, false)
	f(ArmMatch{Tags: map[string]string{"version": "v2"}}, nil, false)
	f(ArmMatch{Tags: map[string]string{"version": "v2"}}, map[string]string{"version": "v2", "x": "y"}, true)
	f(ArmMatch{Model: "m", Tags: map[string]string{"version": "v2"}}, map[string]string{"version": "v1"}, false)
}
