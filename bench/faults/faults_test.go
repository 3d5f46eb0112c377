package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestMain makes the test binary stand in for the NATS server, as the bench's own does.
func TestMain(m *testing.M) {
	if os.Getenv(natsDir) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// TestLongFaults is the bench with few kills and short outages. Latencies are left to the bench: on a machine that does
// other things they say nothing.
func TestLongFaults(t *testing.T) {
	if os.Getenv("TELLTALE_LONG") == "" {
		t.Skip("takes minutes: set TELLTALE_LONG=1, or run make test-long")
	}
	dir := t.TempDir()
	telltale := filepath.Join(dir, "telltale")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", telltale, "../../cmd/telltale").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	o := options{telltale: telltale, kills: 6, rate: 150, rounds: 2, window: 2 * time.Second, storeAway: 6 * time.Second, flood: 3 * time.Second, seed: uint64(time.Now().UnixNano()), patient: true}
	t.Logf("seed %d", o.seed)
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			r, err := f.try(t.Context(), o, dir)
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.text + r.row)
			if r.unmeasured {
				t.Skip(r.missed)
			}
			for _, m := range r.missed {
				t.Error(m)
			}
		})
	}
}
