//go:build cgo

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

var words = strings.Fields(`the a refund order customer please thank account invoice delivery address number week days policy
	return item product support team help question answer confirm email phone payment card charge amount price discount
	shipping status tracking package arrived damaged replacement exchange warranty month year today tomorrow yesterday morning
	would could should can will have has been was were is are you your our we they it this that these those for with without
	about after before because however therefore first second finally note important sorry happy glad understand provide
	receive send check review update change cancel subscription plan upgrade feature setting password login access`)

func sentence(r *rand.Rand, bytes int) string {
	var b strings.Builder
	for b.Len() < bytes {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(' ')
	}
	return b.String()[:bytes]
}

// exchange makes one with about 1 KB of content: what was asked, the answer, and the request's body.
func exchange(r *rand.Rand, id string, at time.Time) record.Exchange {
	latency, ttft := .2+r.ExpFloat64(), .1+r.ExpFloat64()/5
	variant, cost := "baseline", r.Float64()/100
	if r.IntN(10) == 0 {
		variant = "canary"
	}
	score := r.Float64()
	input := []record.Message{{Role: "user", Content: sentence(r, 250)}}
	body, _ := json.Marshal(map[string]any{"model": "gpt-4o-mini", "messages": input, "temperature": .2})
	x := record.Exchange{
		ID: id, Source: "gateway", Time: at, Route: fmt.Sprintf("route-%d", r.IntN(5)), Variant: variant,
		Snapshot: "5f3a9c0d1e2b4a68", Propensity: .9, API: record.APIChat, Stream: true, Provider: "openai", Upstream: "primary",
		Model: "gpt-4o-mini", Served: "gpt-4o-mini-2024-07-18", Fingerprint: "fp_0123456789", Endpoint: "/v1/chat/completions",
		Status: 200, FinishReason: "stop", Latency: &latency, TTFT: &ttft, Gaps: &record.Gaps{Count: 80, Mean: .02, P50: .018, P95: .05, Max: .2},
		Usage: &record.Usage{Prompt: r.IntN(900), Completion: r.IntN(300)}, Cost: &cost, Params: map[string]any{"temperature": .2},
		User: fmt.Sprintf("u_%08x", r.IntN(50_000)), Session: fmt.Sprintf("s_%08x", r.IntN(500_000)), Tags: map[string]string{"tier": "free"},
		Attempts: 1, InputHash: fmt.Sprintf("%016x", r.Uint64()), InputBytes: 350, OutputBytes: 500, Inclusion: 1, Redaction: "1",
		Content: &record.Content{Input: input, Output: sentence(r, 450), Body: body},
		Scores:  []record.OnlineScore{{Name: "toxicity", Value: &score, Signature: "toxicity@1", Inclusion: 1}},
	}
	if r.IntN(50) == 0 {
		x.Status, x.ErrorKind, x.FinishReason, x.Content.Output = 500, record.Server, "", ""
	}
	return x
}

// bulk fills the tables with rows like those of exchange from inside the engine, which takes a tenth of the time.
const bulk = `
INSERT INTO exchanges SELECT
	make_timestamp(%[2]d + i * %[3]d), uuid()::VARCHAR AS id, hash(random())::UBIGINT::HUGEINT - 9223372036854775808,
	'gateway', 'route-' || (i %% 5), CASE WHEN random() < .1 THEN 'canary' ELSE 'baseline' END, '5f3a9c0d1e2b4a68', .9, 1,
	'openai.chat', true, 'openai', 'primary', 'gpt-4o-mini', 'gpt-4o-mini-2024-07-18', 'fp_0123456789', '/v1/chat/completions',
	CASE WHEN i %% 50 = 0 THEN 500 ELSE 200 END, CASE WHEN i %% 50 = 0 THEN 'server' ELSE '' END, '',
	CASE WHEN i %% 50 = 0 THEN '' ELSE 'stop' END, false, i %% 50 = 0, .2 - ln(1 - random()), .1 - ln(1 - random()) / 5, random() / 100,
	(random() * 900)::BIGINT, (random() * 300)::BIGINT, 0, 0, 0, format('u_{:08x}', (random() * 50000)::BIGINT),
	format('s_{:08x}', (random() * 500000)::BIGINT), chr(31) || 'tier=free' || chr(31), '', 0, 1, '', '', '',
	format('{:016x}', (random() * 9e18)::BIGINT), 350, 500, '1', '{"temperature":0.2}',
	'{"gaps":{"count":80,"mean":0.02,"p50":0.018,"p95":0.05,"max":0.2},"scores":[{"name":"toxicity","value":0.5}]}',
	['toxicity'], [random()]
FROM range(%[1]d) t(i)`
