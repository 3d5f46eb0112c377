package report

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/telltale-llm/telltale/internal/rollout"
)

func oneForecast() *rollout.Forecast {
	return &rollout.Forecast{
		Rollout: "summer", Requests: 1234.5, Alpha: 0.01, Promoted: 8. / 9, Simulated: 9, Hours: new(26.25),
		Signals: []rollout.ForecastSignal{{Name: "error_rate", Baseline: 0.0031, Margin: 0.01, Worse: 0.0131}, {Name: "helpfulness", Baseline: 0.2, Assumed: true, Margin: 0.05, Worse: 0.25}},
		Stages: []rollout.ForecastStage{
			{Name: "shadow", SampleHours: 0.1, MaxHours: 24, StayHours: new(0.5), Sees: []rollout.ForecastSees{
				{Signal: "error_rate", AtSample: new(0.04), AtEnd: new(0.00123), Found: 1, Hours: new(1.5)},
				{Signal: "helpfulness", AtEnd: new(0.1), Found: 0.4},
			}},
			{Name: "0.1%", SampleHours: 400, MaxHours: 24, Sees: []rollout.ForecastSees{{Signal: "error_rate"}, {Signal: "helpfulness", Found: 0.2}}},
		},
		Warnings: []string{"stage 0.1%: it cannot see anything of error_rate: even a candidate that always has it is not found within 24h", "stage 0.1%: its sample takes 400 hours at this traffic, and it is undecided after 24h"},
	}
}

func TestRolloutForecast(t *testing.T) {
	for _, columns := range []int{80, 120} {
		var out bytes.Buffer
		note := "traffic and rates are those of the route in the last 24 hours, 29628 requests"
		if err := RolloutForecast(&out, oneForecast(), note, TerminalOptions{Width: columns}); err != nil {
			t.Fatal(err)
		}
		fits(t, "forecast", columns, out.String())
		golden(t, fmt.Sprintf("rollout-forecast-%d.txt", columns), out.Bytes())
	}
	var out bytes.Buffer
	if err := RolloutForecast(&out, &rollout.Forecast{Rollout: "x\x1b[31m"}, "", TerminalOptions{Width: 80}); err != nil {
		t.Fatal(err)
	}
	fits(t, "an empty forecast", 80, out.String())
}
