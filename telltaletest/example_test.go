package telltaletest_test

import (
	"context"
	"strings"
	"testing"

	"github.com/telltale-llm/telltale/telltaletest"
)

// reply stands for a team's own code.
func reply(question string) string {
	if strings.Contains(strings.ToLower(question), "refund") {
		return "You get a refund within 30 days: open the order and choose Return."
	}
	return "Your order is on its way; the confirmation has its tracking number."
}

// TestSupport is how a team tests its own code with a suite.
func TestSupport(t *testing.T) {
	result := telltaletest.Run(t, "testdata/support.yaml", telltaletest.Options{
		Providers: map[string]telltaletest.Provider{
			"support": telltaletest.ProviderFunc(func(_ context.Context, req telltaletest.Request) (telltaletest.Response, error) {
				return telltaletest.Response{Output: reply(req.Vars["question"].(string))}, nil
			}),
		},
	})
	if result.Verdict != "pass" || result.Samples != 2 {
		t.Errorf("result %+v", result)
	}
}
