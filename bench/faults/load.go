package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reply is what became of a request.
type reply struct {
	session   string
	due, done time.Time
	err       error
}

// users send requests through the gateway. Each has a session of its own.
type users struct {
	url    string
	name   string // prefix of the sessions
	client *http.Client
	body   []byte

	mu      sync.Mutex
	replies []reply
}

func newUsers(s *server, name string, padding int) *users {
	text := "My order 48213 has not arrived, write to anna.berg@example.org or call +1 415 555 2671. How do I get a refund?"
	text += strings.Repeat(" It was a blue lamp.", padding/20)
	body := fmt.Sprintf(`{"model":"sim","messages":[{"role":"system","content":"You are a support assistant."},{"role":"user","content":%q}],"max_tokens":200}`, text)
	t := &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true}
	return &users{url: "http://" + s.gateway + "/v1/chat/completions", name: name, body: []byte(body), client: &http.Client{Transport: t, Timeout: time.Minute}}
}

// send starts requests at the times of a Poisson process until the context ends, and waits for their answers.
func (u *users) send(ctx context.Context, rate float64, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	var wg sync.WaitGroup
	start := time.Now()
	at := time.Duration(0)
	for n := 0; ; n++ {
		at += time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
		due := start.Add(at)
		select {
		case <-ctx.Done():
			wg.Wait()
			u.client.CloseIdleConnections()
			return
		case <-time.After(time.Until(due)):
		}
		wg.Go(func() {
			session := u.name + "-" + letters(n)
			err := u.once(context.WithoutCancel(ctx), session)
			r := reply{session, due, time.Now(), err}
			u.mu.Lock()
			u.replies = append(u.replies, r)
			u.mu.Unlock()
		})
	}
}

func (u *users) once(ctx context.Context, session string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.url, bytes.NewReader(u.body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer sk-bench-0000000000000000")
	req.Header.Set("telltale-session", session)
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK || len(got) < 100:
		return fmt.Errorf("%s: %.200s", resp.Status, got)
	}
	return nil
}

// between returns the replies to requests that were due in a span of time.
func (u *users) between(from, to time.Time) []reply {
	u.mu.Lock()
	defer u.mu.Unlock()
	var out []reply
	for _, r := range u.replies {
		if !r.due.Before(from) && r.due.Before(to) {
			out = append(out, r)
		}
	}
	return out
}

// noticed is what users saw in some span of time.
type noticed struct {
	p50, p99 float64 // seconds
	failed   int
	n        int
	example  error
}

func notice(replies []reply) (v noticed) {
	var latency []float64
	for _, r := range replies {
		if v.n++; r.err != nil {
			v.failed, v.example = v.failed+1, r.err
			continue
		}
		latency = append(latency, r.done.Sub(r.due).Seconds())
	}
	slices.Sort(latency)
	v.p50, v.p99 = quantile(latency, .5), quantile(latency, .99)
	return v
}

// quantile of ascending values by nearest rank; NaN of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(q*float64(len(sorted))))-1))]
}

// reporter sends exchanges to the ingest endpoint, a batch at a time and each again until it is taken, as exporters do.
type reporter struct {
	url, media string
	batch      func(n int) (body []byte, ids []string)

	mu    sync.Mutex
	n     int      // of the batch
	taken []string // ids of what was acknowledged
	tries int
}

const perBatch = 20

// letters writes a number in letters: numbers might be taken for those of a phone or a card, and redacted.
func letters(n int) string {
	const digits = "bcdfghjkmn"
	b := []byte(strconv.Itoa(n))
	for i := range b {
		b[i] = digits[b[i]-'0']
	}
	return string(b)
}

// asJSON reports in telltale's own format.
func asJSON(s *server) *reporter {
	return &reporter{url: "http://" + s.api + "/v1/exchanges", media: "application/x-ndjson", batch: func(n int) ([]byte, []string) {
		var b bytes.Buffer
		ids := make([]string, perBatch)
		for i := range ids {
			ids[i] = "json-" + letters(n) + "-" + letters(i)
			fmt.Fprintf(&b, `{"id":%q,"time":%q,"route":"reported","model":"sim","latency":0.5,"content":{"input":[{"role":"user","content":"mail bob@example.org"}],"output":"done"}}`+"\n", ids[i], time.Now().UTC().Format(time.RFC3339Nano))
		}
		return b.Bytes(), ids
	}}
}

// asOTLP reports as OpenTelemetry does. The ids are sessions: the exchanges' own are made from trace and span.
func asOTLP(s *server) *reporter {
	return &reporter{url: "http://" + s.api + "/v1/traces", media: "application/json", batch: func(n int) ([]byte, []string) {
		type object = map[string]any
		attr := func(key, value string) object { return object{"key": key, "value": object{"stringValue": value}} }
		ids := make([]string, perBatch)
		spans := make([]object, perBatch)
		at := time.Now().UnixNano()
		for i := range ids {
			var id [16]byte
			binary.BigEndian.PutUint32(id[:], 0xfeedf00d) // also says that it is no number of a card
			binary.BigEndian.PutUint64(id[4:], uint64(n)<<20|uint64(i))
			binary.BigEndian.PutUint32(id[12:], uint32(n)<<10|uint32(i)+1)
			trace := hex.EncodeToString(id[:])
			ids[i] = "otlp-" + letters(n) + "-" + letters(i)
			spans[i] = object{
				"traceId": trace, "spanId": trace[16:], "name": "chat sim", "kind": 3, "startTimeUnixNano": fmt.Sprint(at), "endTimeUnixNano": fmt.Sprint(at + 5e8),
				"attributes": []object{attr("gen_ai.operation.name", "chat"), attr("gen_ai.request.model", "sim"), attr("gen_ai.provider.name", "openai"), attr("gen_ai.conversation.id", ids[i])},
			}
		}
		body, err := json.Marshal(object{"resourceSpans": []object{{"scopeSpans": []object{{"spans": spans}}}}})
		if err != nil {
			panic(err) // texts and numbers
		}
		return body, ids
	}}
}

// send reports until the context ends. Called again it goes on with the batch that was not taken.
func (r *reporter) send(ctx context.Context, every time.Duration) {
	client := &http.Client{Timeout: 30 * time.Second}
	for {
		body, ids := r.batch(r.n)
		for {
			err := r.once(ctx, client, body)
			r.mu.Lock()
			r.tries++
			if err == nil {
				r.taken = append(r.taken, ids...)
				r.n++
			}
			r.mu.Unlock()
			if err == nil {
				break
			}
			if !wait(ctx, 50*time.Millisecond) {
				return
			}
		}
		if !wait(ctx, every) {
			return
		}
	}
}

func (r *reporter) once(ctx context.Context, client *http.Client, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", r.media)
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", resp.Status)
	}
	return nil
}

// wait sleeps, and says whether the context is still open.
func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
