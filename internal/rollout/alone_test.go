package rollout

import (
	"fmt"
	"testing"

	"github.com/telltale-llm/telltale/internal/record"
)

// TestAloneWaitsForNobody has much more traffic than copies, which take long: answers without a copy must not push out those that have
// one.
func TestAloneWaitsForNobody(t *testing.T) {
	f := func(alone bool, pairs int64) {
		t.Helper()
		s := start(t, doc("[{weight: shadow, min_duration: 1h, max_duration: 2h}, 100%]"))
		Step(s, epoch)
		base := record.Evidence{ID: "x", Time: epoch, Route: "main", Rollout: "r", Variant: "baseline"}
		s.Observe(base)
		for i := range 5 * mostPairs {
			e := base
			e.ID, e.Alone = fmt.Sprint(i), alone
			s.Observe(e)
		}
		shadow := base
		shadow.ID, shadow.Variant, shadow.Paired = "s", record.VariantShadow, "x"
		s.Observe(shadow)
		if st := s.Statuses()[0]; st.CandidateN != pairs || st.BaselineN != pairs {
			t.Errorf("%+v, want %d pairs", st, pairs)
		}
	}
	f(true, 1)
	f(false, 0)
}
