package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Window is the length of a roll-up.
const Window = 10 * time.Second

// Names in record.Rollup.Counts. Those that end in a dot are followed by a name: of a failure kind, a kind of finding, a
// score. Weighted sums count each exchange by one over the probability with which it was scored, so that they estimate
// what scoring all of them would have given.
const (
	Requests  = "requests"
	Errors    = "errors"    // without those that the client gave up
	Cancelled = "cancelled" // the client gave up
	Refused   = "refused"
	Truncated = "truncated" // ended by the length limit
	Streams   = "streams"
	Retries   = "retries"  // requests that repeat an earlier one of the client's
	Attempts  = "attempts" // further calls of an upstream
	TokensIn  = "tokens_in"
	TokensOut = "tokens_out"
	Cost      = "cost"
	BytesIn   = "bytes_in"
	BytesOut  = "bytes_out"
	Contents  = "contents" // exchanges with content
	ErrorOf   = "error."
	FoundOf   = "found."
	// ScoreOf NAME is followed by one of .n .sum .weight .weighted .passes .judged .errors: values and their sum, both
	// also weighted; those that passed of those that were judged; errors.
	ScoreOf = "score."
)

// Names in record.Rollup.Sketches, besides tokens_in, tokens_out and cost as above.
const (
	Latency = "latency"
	TTFT    = "ttft"
)

// maxSegments bounds the values of the segment tag per batch; others count as OtherSegment.
const maxSegments = 100

// OtherSegment stands for the segments above the bound.
const OtherSegment = "(other)"

// key is what a roll-up is of.
type key struct {
	route, variant, snapshot, segment string
	window                            int64 // its start in units of Window
}

// sums are the counts and sketches of a key, before they become a record.Rollup.
type sums struct {
	fixed    [len(fixedNames)]float64
	named    map[string]float64
	sketches [len(sketchNames)]*record.Sketch
}

// fixedNames are the counts that every exchange may add to; an array is faster than a map.
var fixedNames = [...]string{
	Requests, Errors, Cancelled, Refused, Truncated, Streams, Retries, Attempts, TokensIn, TokensOut, Cost, BytesIn, BytesOut, Contents,
}

const (
	iRequests = iota
	iErrors
	iCancelled
	iRefused
	iTruncated
	iStreams
	iRetries
	iAttempts
	iTokensIn
	iTokensOut
	iCost
	iBytesIn
	iBytesOut
	iContents
)

var sketchNames = [...]string{Latency, TTFT, TokensIn, TokensOut, Cost}

func (s *sums) count(name string, n float64) {
	if s.named == nil {
		s.named = map[string]float64{}
	}
	s.named[name] += n
}

func (s *sums) sketch(i int, v float64) {
	if s.sketches[i] == nil {
		s.sketches[i] = record.NewSketch()
	}
	s.sketches[i].Add(v)
}

func (s *sums) add(x *record.Exchange) {
	f := &s.fixed
	f[iRequests]++
	if x.ErrorKind == record.Canceled {
		f[iCancelled]++
	}
	if x.Failed() {
		f[iErrors]++
	}
	if x.ErrorKind != "" {
		s.count(ErrorOf+string(x.ErrorKind), 1)
	}
	finish := record.FinishClass(x.FinishReason)
	if x.Refused || finish == "refusal" {
		f[iRefused]++
	}
	if finish == "length" {
		f[iTruncated]++
	}
	if x.Stream {
		f[iStreams]++
	}
	if x.Retries > 0 {
		f[iRetries]++
	}
	f[iAttempts] += float64(max(0, x.Attempts-1))
	f[iBytesIn] += float64(x.InputBytes)
	f[iBytesOut] += float64(x.OutputBytes)
	if x.Content != nil {
		f[iContents]++
	}
	if x.Latency != nil {
		s.sketch(0, *x.Latency)
	}
	if x.TTFT != nil {
		s.sketch(1, *x.TTFT)
	}
	if u := x.Usage; u != nil {
		f[iTokensIn] += float64(u.Prompt)
		f[iTokensOut] += float64(u.Completion)
		s.sketch(2, float64(u.Prompt))
		s.sketch(3, float64(u.Completion))
	}
	if x.Cost != nil {
		f[iCost] += *x.Cost
		s.sketch(4, *x.Cost)
	}
	for kind, n := range x.Found {
		s.count(FoundOf+kind, float64(n))
	}
	for i := range x.Scores {
		s.score(&x.Scores[i])
	}
}

func (s *sums) score(o *record.OnlineScore) {
	name := ScoreOf + o.Name
	if o.Error != "" {
		s.count(name+".errors", 1)
		return
	}
	w := 1.0
	if o.Inclusion > 0 {
		w = 1 / o.Inclusion
	}
	if o.Value != nil {
		s.count(name+".n", 1)
		s.count(name+".sum", *o.Value)
		s.count(name+".weight", w)
		s.count(name+".weighted", w**o.Value)
	}
	if o.Pass != nil {
		s.count(name+".judged", 1)
		if *o.Pass {
			s.count(name+".passes", 1)
		}
	}
}

func (s *sums) counts() map[string]float64 {
	out := make(map[string]float64, len(s.named)+8)
	for i, n := range s.fixed {
		if n != 0 {
			out[fixedNames[i]] = n
		}
	}
	for name, n := range s.named {
		out[name] = n
	}
	return out
}

func windowOf(t time.Time) int64 { return floorDiv(t.UnixMicro(), Window.Microseconds()) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// rollUp sums a batch up: one roll-up for each key. Their IDs are made of the batch's, so that those of a batch that is
// processed again replace the first ones. Exchanges that are late fall in the window of their own time.
func rollUp(batch, segmentTag string, xs []record.Exchange) []record.Rollup {
	all := map[key]*sums{}
	segments := map[string]bool{}
	for i := range xs {
		x := &xs[i]
		k := key{x.Route, x.Variant, x.Snapshot, "", windowOf(x.Time)}
		if segmentTag != "" {
			if k.segment = x.Tags[segmentTag]; !segments[k.segment] {
				if len(segments) >= maxSegments {
					k.segment = OtherSegment
				}
				segments[k.segment] = true
			}
		}
		s := all[k]
		if s == nil {
			s = &sums{}
			all[k] = s
		}
		s.add(x)
	}
	out := make([]record.Rollup, 0, len(all))
	for k, s := range all {
		r := record.Rollup{
			ID: rollupID(batch, k), Route: k.route, Variant: k.variant, Snapshot: k.snapshot, Segment: k.segment,
			Start: time.UnixMicro(k.window * Window.Microseconds()).UTC(), Length: Window.Seconds(), Counts: s.counts(),
		}
		for i, sk := range s.sketches {
			if sk != nil {
				if r.Sketches == nil {
					r.Sketches = make(map[string][]byte, len(sketchNames))
				}
				r.Sketches[sketchNames[i]] = sk.Bytes()
			}
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b record.Rollup) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func rollupID(batch string, k key) string {
	h := sha256.New()
	for _, s := range []string{batch, k.route, k.variant, k.snapshot, k.segment, strconv.FormatInt(k.window, 10)} {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
