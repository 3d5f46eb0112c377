package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/verdict"
)

// TestQuarantineExpires runs one suite on the last day of a quarantine and on the day after.
func TestQuarantineExpires(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "suite.yaml")
	suite := `
prompts: ["{{x}}"]
providers: [echo]
tests: [{id: good, vars: {x: yes it is}}, {id: bad, vars: {x: no}}]
defaultTest: {assert: [{type: contains, value: "yes"}]}
quarantine: [{case: bad, until: 2026-03-01, reason: a bug}]
`
	if err := os.WriteFile(path, []byte(suite), 0o666); err != nil {
		t.Fatal(err)
	}
	f := func(now time.Time, want verdict.Verdict, expired bool) {
		t.Helper()
		out := filepath.Join(dir, now.Format("20060102150405"))
		run, err := Run(t.Context(), RunOptions{Suite: path, Out: out, NoCache: true, Retries: -1, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		q := run.Run.Flaky.Quarantine[0]
		warned := strings.Contains(strings.Join(run.Run.Warnings, "\n"), "the quarantine of bad expired after 2026-03-01 (a bug): it counts again")
		if run.Run.Gate.Verdict != want || q.Expired != expired || warned != expired || q.Failed != 1 || (run.Run.Summary.Quarantined == nil) != expired {
			t.Errorf("%v: %v, warnings %q, %+v", now, run.Run.Gate.Verdict, run.Run.Warnings, q)
		}
	}
	f(time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC), verdict.Pass, false)
	f(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), verdict.Fail, true)
	// The same moment elsewhere: what counts is the day in UTC.
	f(time.Date(2026, 3, 2, 5, 0, 0, 0, time.FixedZone("east", 10*3600)), verdict.Pass, false)
}
