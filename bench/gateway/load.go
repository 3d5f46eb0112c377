package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// answers is what a load saw: latencies and times to the first token in seconds, ascending, and failures.
type answers struct {
	latency, first []float64
	failed         int
	example        string // of a failure
	elapsed        time.Duration
}

func (a answers) quantile(q float64) float64 { return quantile(a.latency, q) }

// quantile of ascending values by nearest rank; NaN of none.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	return sorted[min(len(sorted)-1, max(0, int(math.Ceil(q*float64(len(sorted))))-1))]
}

// load sends requests to one target.
type load struct {
	url    string
	sent   *atomic.Int64 // requests to the target that were answered
	header http.Header
	body   []byte
	stream bool
	client *http.Client
}

func newLoad(to *target, stream bool) *load {
	body := `{"model":"sim","messages":[{"role":"system","content":"You are a support assistant."},{"role":"user","content":"My order 48213 has not arrived, write to anna.berg@example.org or call +1 415 555 2671. How do I get a refund?"}],"max_tokens":200}`
	if stream {
		body = body[:len(body)-1] + `,"stream":true}`
	}
	t := &http.Transport{
		MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, DisableCompression: true,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}
	return &load{url: to.url + "/v1/chat/completions", sent: &to.sent, header: to.header, body: []byte(body), stream: stream, client: &http.Client{Transport: t, Timeout: time.Minute}}
}

func (l *load) close() { l.client.CloseIdleConnections() }

var doneMark = []byte("data: [DONE]")

// once sends one request and reads the whole answer.
func (l *load) once(ctx context.Context, since time.Time) (latency, first float64, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(l.body))
	if err != nil {
		return 0, 0, err
	}
	req.Header = l.header.Clone()
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	l.sent.Add(1)
	var got bytes.Buffer
	buf := make([]byte, 4096)
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && first == 0 {
			first = time.Since(since).Seconds()
		}
		got.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, 0, err
		}
	}
	latency = time.Since(since).Seconds()
	switch {
	case resp.StatusCode != http.StatusOK:
		return 0, 0, fmt.Errorf("%s: %.200s", resp.Status, got.String())
	case l.stream && !bytes.Contains(got.Bytes(), doneMark):
		return 0, 0, fmt.Errorf("the stream did not end: %.200s", got.String())
	case got.Len() < 100:
		return 0, 0, fmt.Errorf("a short answer: %s", got.String())
	}
	return latency, first, nil
}

// collector gathers answers of many goroutines.
type collector struct {
	sync.Mutex
	answers
}

func (c *collector) add(latency, first float64, err error) {
	c.Lock()
	defer c.Unlock()
	if err != nil {
		c.failed++
		c.example = err.Error()
		return
	}
	c.latency = append(c.latency, latency)
	c.first = append(c.first, first)
}

func (c *collector) sorted() answers {
	slices.Sort(c.latency)
	slices.Sort(c.first)
	return c.answers
}

// open starts requests at the times of a Poisson process of the given rate. The same seed gives the same times.
func (l *load) open(ctx context.Context, rate float64, d time.Duration, seed uint64) answers {
	rng := rand.New(rand.NewPCG(seed, 1))
	var c collector
	var wg sync.WaitGroup
	start := time.Now()
	for at := time.Duration(0); ; {
		at += time.Duration(rng.ExpFloat64() / rate * float64(time.Second))
		if at >= d || ctx.Err() != nil {
			break
		}
		due := start.Add(at)
		time.Sleep(time.Until(due))
		wg.Go(func() { c.add(l.once(ctx, due)) })
	}
	wg.Wait()
	c.elapsed = time.Since(start)
	return c.sorted()
}

// closed keeps so many requests under way for d.
func (l *load) closed(ctx context.Context, n int, d time.Duration) answers {
	var c collector
	var wg sync.WaitGroup
	var stop atomic.Bool
	start := time.Now()
	for range n {
		wg.Go(func() {
			for !stop.Load() && ctx.Err() == nil {
				c.add(l.once(ctx, time.Now()))
			}
		})
	}
	time.Sleep(d)
	stop.Store(true)
	wg.Wait()
	c.elapsed = time.Since(start)
	return c.sorted()
}
