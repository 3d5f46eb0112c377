package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

const sentinelText = `
name: swap
route: main
candidate: canary
stages: [{weight: 5%, min_duration: 1h, max_duration: 2h}, 100%]
signals: [{kind: error_rate, margin: 5%}]
sentinels: {suite: critical.yaml, every: 1s}
`

// critical writes a suite beside the server's configuration.
func (s *serving) critical(t *testing.T, tests string) {
	t.Helper()
	text := "providers: ['openai:chat:now']\nprompts: ['{{q}}']\ndefaultTest: {vars: {q: who are you?}}\ntests:\n" + tests
	if err := os.WriteFile(filepath.Join(s.dir, "critical.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSentinelRollsBack has a candidate that fails one critical case. It is withdrawn before any user asked it, and cases that are not
// critical are not even replayed.
func TestSentinelRollsBack(t *testing.T) {
	up := newModels(t, nil)
	s := serveYAML(t, fmt.Sprintf(variantsText, up.URL))
	s.critical(t, `
  - {id: polite, critical: true, assert: [{type: contains, value: I am}]}
  - {id: identity, critical: true, assert: [{type: contains, value: now}]}
  - {id: usual, assert: [{type: contains, value: nothing}]}
`)
	s.begin(t, sentinelText)
	got := s.until(t, "swap", ended)
	if got.Phase != string(rollout.RolledBack) || got.Decision.Reason != "sentinel identity fails on the candidate and not on the baseline" {
		t.Errorf("%s: %s", got.Phase, got.Decision.Reason)
	}
	if n := got.Sentinels; n == nil || len(n.Cases) != 2 || n.Cases[0].Case != "identity" || *n.Cases[0].Candidate || !*n.Cases[0].Baseline || !*n.Cases[1].Candidate {
		t.Errorf("%+v", n)
	}
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	if st, err := r.Status(t.Context()); err != nil || st.Capture.Seen != 0 {
		t.Errorf("sentinels were counted as users' requests: %+v, %v", st.Capture, err)
	}
}

// TestSentinelsPass has a candidate that passes, beside a case that both fail, and later an upstream that is gone: that rolls nothing
// back and is shown.
func TestSentinelsPass(t *testing.T) {
	up := newModels(t, nil)
	s := serveYAML(t, fmt.Sprintf(variantsText, up.URL))
	s.critical(t, `
  - {id: polite, assert: [{type: contains, value: I am}]}
  - {id: broken, assert: [{type: contains, value: nothing}]}
`)
	s.begin(t, sentinelText)
	got := s.until(t, "swap", func(r *api.Rollout) bool {
		return r.Sentinels != nil && len(r.Sentinels.Cases) == 2 && r.Sentinels.Last != nil
	})
	if n := got.Sentinels; *n.Cases[0].Candidate || *n.Cases[0].Baseline || !*n.Cases[1].Candidate || n.Error != "" || got.BothArms != "sentinel broken" || got.Phase != string(rollout.Running) {
		t.Errorf("%+v, %s, %q", n, got.Phase, got.BothArms)
	}
	up.Close()
	got = s.until(t, "swap", func(r *api.Rollout) bool { return r.Sentinels.Error != "" })
	if got.Phase != string(rollout.Running) || got.Sentinels.Last == nil || len(got.Sentinels.Error) < 20 {
		t.Errorf("%s, %+v", got.Phase, got.Sentinels)
	}
}

// TestSentinelsAreRefused starts rollouts whose suite the server cannot use: an error that says where, and nothing is started.
func TestSentinelsAreRefused(t *testing.T) {
	s := serveYAML(t, fmt.Sprintf(variantsText, "http://127.0.0.1:9"))
	f := func(suite, want string) {
		t.Helper()
		_, err := s.tryBegin(t, strings.Replace(sentinelText, "suite: critical.yaml", "suite: "+suite, 1))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "rollout.yaml:7:20: sentinels.suite") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("critical.yaml", "cannot use this suite")
	s.critical(t, "  - {id: a, assert: [{type: contains, value: x}]}\n")
	f("/etc/passwd", "not a file below the folder of server.yaml")
	f("../critical.yaml", "not a file below the folder of server.yaml")
	s.critical(t, "  - {id: a, assert: [{type: contians, value: x}]}\n")
	f("critical.yaml", `critical.yaml:5:29: tests[0].assert[0].type: "contians"`)
	s.critical(t, "  - {id: 'a{{i}}', assert: [{type: contains, value: x}]}\n"+strings.Repeat("  - {vars: {q: x}, assert: [{type: contains, value: x}]}\n", mostSentinels))
	f("critical.yaml", fmt.Sprintf("it has %d cases to replay", mostSentinels+1))
	r, err := NewRemote(s.api, "")
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.Rollouts(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("%v, %+v", err, all)
	}
}

func TestSentinelsDue(t *testing.T) {
	r, _ := atRollouts(t, t.TempDir())
	doc := aRollout(t, "swap")
	k, err := r.Start(t.Context(), doc, "anna", "")
	if err != nil {
		t.Fatal(err)
	}
	doc = k.doc()
	doc.Sentinels = &config.Sentinels{Suite: "x.yaml", Every: time.Minute}
	now := time.Now()
	running, over := make(chan struct{}), make(chan struct{})
	close(over)
	f := func(turn *sentinelTurn, want bool) {
		t.Helper()
		if got := turn.due(k, now); got != want {
			t.Errorf("%+v: %v", turn, got)
		}
	}
	f(nil, true)
	f(&sentinelTurn{began: now.Add(-time.Hour), phase: k.phase(), done: running}, false)
	f(&sentinelTurn{began: now.Add(-time.Second), phase: k.phase(), done: over}, false)
	f(&sentinelTurn{began: now.Add(-time.Minute), phase: k.phase(), done: over}, true)
	f(&sentinelTurn{began: now, phase: k.phase(), stage: 1, done: over}, true) // another stage began
	k.S.Phase = rollout.Pending
	f(nil, false)
}
