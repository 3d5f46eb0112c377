package pipeline

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

const secretText = "jane@example.com"

// fakeRedactor masks one text, and fails or panics on demand.
type fakeRedactor struct {
	fail, panics bool
	wait         time.Duration
}

func (f *fakeRedactor) Exchange(ctx context.Context, x *record.Exchange) error {
	if f.wait > 0 {
		select {
		case <-time.After(f.wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.panics {
		panic(secretText)
	}
	if f.fail {
		return errors.New("the service is down")
	}
	mask := func(s *string) { *s = strings.ReplaceAll(*s, secretText, "[email]") }
	if x.Content != nil {
		mask(&x.Content.Output)
		mask(&x.Content.System)
		for i := range x.Content.Input {
			mask(&x.Content.Input[i].Content)
		}
	}
	for _, s := range []*string{&x.User, &x.Session, &x.Error, &x.Endpoint, &x.Model} {
		mask(s)
	}
	for k, v := range x.Tags {
		mask(&v)
		x.Tags[k] = v
	}
	x.Redaction = "v1"
	return nil
}

type fakePublisher struct {
	mu   sync.Mutex
	data [][]byte
	full bool
}

func (p *fakePublisher) Offer(_ string, data []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return false
	}
	p.data = append(p.data, slices.Clone(data))
	return true
}

func newCapture(t *testing.T, o CaptureOptions) (*Capture, *fakePublisher) {
	t.Helper()
	p := &fakePublisher{}
	if o.Publisher == nil {
		o.Publisher = p
	}
	if o.Redactor == nil {
		o.Redactor = &fakeRedactor{}
	}
	o.Codec, o.Log = NewCodec(), slog.New(slog.DiscardHandler)
	c, err := NewCapture(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

// secretSample has personal data in every field that can hold it.
func secretSample(i int) record.Exchange {
	x := sample(i)
	x.Content.Input[0].Content += secretText
	x.Content.Output += secretText
	x.Content.System += secretText
	x.User, x.Session, x.Error, x.Endpoint, x.Model = secretText, secretText, secretText, "/v1/"+secretText, secretText
	x.Tags = map[string]string{"t": secretText}
	x.Redaction = ""
	return x
}

func tap(x record.Exchange, released *atomic.Int64) Tap {
	return Tap{Route: x.Route, Bytes: 1000, Read: func() (*record.Exchange, error) { return &x, nil }, Release: func() { released.Add(1) }}
}

func decodeAll(t *testing.T, p *fakePublisher) (xs []record.Exchange, ss []record.Snapshot) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.data {
		m, err := NewCodec().Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if m.Exchange != nil {
			xs = append(xs, *m.Exchange)
		} else {
			ss = append(ss, *m.Snapshot)
		}
	}
	return xs, ss
}

// A score that comes apart from its exchange is redacted before it leaves, or loses its words.
func TestPrepareLate(t *testing.T) {
	f := func(fail error, want record.OnlineScore, redaction string) {
		t.Helper()
		c, _ := newCapture(t, CaptureOptions{Redactor: &scoreRedactor{fail}})
		l := record.Late{Exchange: "x", Mark: "1", Time: sampleStart, Score: record.OnlineScore{Name: "tone", Value: ptr(.5), Label: secretText, Reason: "said " + secretText, Error: secretText}}
		p, why := c.PrepareLate(t.Context(), "support", l)
		if why != "" {
			t.Fatal(why)
		}
		m, err := NewCodec().Decode(p.Data)
		if err != nil || !reflect.DeepEqual(m.Late.Score, want) || m.Late.Redaction != redaction || m.Late.Exchange != "x" {
			t.Errorf("%+v, %v", m.Late, err)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	f(nil, record.OnlineScore{Name: "tone", Value: ptr(.5), Label: "[X]", Reason: "said [X]", Error: "[X]"}, "r1")
	f(errors.New("no names"), record.OnlineScore{Name: "tone", Value: ptr(.5)}, Stripped)
}

type scoreRedactor struct{ fail error }

func (r *scoreRedactor) Exchange(_ context.Context, x *record.Exchange) error {
	if r.fail != nil || x.Route != "support" {
		return r.fail
	}
	for i := range x.Scores {
		s := &x.Scores[i]
		for _, to := range []*string{&s.Label, &s.Reason, &s.Error} {
			*to = strings.ReplaceAll(*to, secretText, "[X]")
		}
	}
	x.Redaction = "r1"
	return nil
}

func TestCapture(t *testing.T) {
	var released atomic.Int64
	c, p := newCapture(t, CaptureOptions{})
	for i := range 100 {
		tp := tap(secretSample(i), &released)
		tp.Snapshot = func(x *record.Exchange) record.Snapshot {
			s := record.Snapshot{Model: x.Model, Template: x.Content.System}
			s.Identify()
			return s
		}
		if !c.Take(tp) {
			t.Fatal("not taken")
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	xs, ss := decodeAll(t, p)
	if len(xs) != 100 || len(ss) != 1 || released.Load() != 100 || xs[0].Snapshot != ss[0].ID {
		t.Errorf("%d exchanges, %d snapshots, %d released", len(xs), len(ss), released.Load())
	}
	for _, b := range p.data {
		if strings.Contains(string(b), secretText) {
			t.Fatal("unredacted text on the bus")
		}
	}
	s := c.Stats()
	if len(s) != 1 || s[0].Seen != 100 || s[0].Captured != 100 || s[0].Waiting != 0 || len(s[0].Reasons) != 0 {
		t.Errorf("%+v", s)
	}
	if c.Take(tap(sample(0), &released)) || c.Stats()[0].Reasons[Stopped] != 1 {
		t.Error("taken after the end")
	}
}

// Whatever stage fails, the gateway is not held up, nothing unredacted is written, and the loss has a name.
func TestCaptureFailures(t *testing.T) {
	f := func(o CaptureOptions, read func() (*record.Exchange, error), want Reason, captured int64) {
		t.Helper()
		var released atomic.Int64
		c, p := newCapture(t, o)
		for range 3 {
			c.Take(Tap{Route: "r", Read: read, Release: func() { released.Add(1) }})
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		s := c.Stats()[0]
		if s.Seen != 3 || s.Captured != captured || s.Reasons[want] != 3 || s.Waiting != 0 || released.Load() != 3 {
			t.Errorf("%s: %+v, %d released", want, s, released.Load())
		}
		for _, b := range p.data {
			if strings.Contains(string(b), secretText) {
				t.Errorf("%s: unredacted text on the bus", want)
			}
		}
	}
	good := func() (*record.Exchange, error) {
		x := secretSample(1)
		x.Route = "r"
		return &x, nil
	}
	f(CaptureOptions{Redactor: &fakeRedactor{fail: true}}, good, RedactionFailed, 3)
	f(CaptureOptions{Redactor: &fakeRedactor{panics: true}}, good, Panicked, 0)
	f(CaptureOptions{}, func() (*record.Exchange, error) { panic("boom") }, Panicked, 0)
	f(CaptureOptions{}, func() (*record.Exchange, error) { return nil, errors.New("no") }, Unreadable, 0)
	f(CaptureOptions{Publisher: &fakePublisher{full: true}}, good, BusFull, 0)
	f(CaptureOptions{Publisher: &fakePublisher{full: true}, Down: func() bool { return true }}, good, BusDown, 0)
	f(CaptureOptions{}, func() (*record.Exchange, error) {
		x, _ := good()
		x.Scores = []record.OnlineScore{{Name: strings.Repeat("x", maxRecord)}}
		return x, nil
	}, TooLarge, 0)
}

func TestCaptureStrips(t *testing.T) {
	var released atomic.Int64
	c, p := newCapture(t, CaptureOptions{Redactor: &fakeRedactor{fail: true}})
	c.Take(tap(secretSample(1), &released))
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	xs, _ := decodeAll(t, p)
	x := xs[0]
	if x.Redaction != Stripped || x.Content != nil || x.Latency == nil || x.Status != 200 || !slices.Contains(x.Cut, "content") {
		t.Errorf("%+v", x)
	}
}

// Take never waits: with all workers stuck, what exceeds the queue is counted at once.
func TestCaptureNeverBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Int64
		c, _ := newCapture(t, CaptureOptions{Redactor: &fakeRedactor{wait: time.Hour}, MaxQueue: 10, Workers: 2})
		begin := time.Now()
		taken := 0
		for i := range 50 {
			if c.Take(tap(sample(i), &released)) {
				taken++
			}
			synctest.Wait()
		}
		if taken != 12 || time.Since(begin) != 0 {
			t.Errorf("%d taken in %v", taken, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		s := c.Stats()[0]
		// The two that were being redacted lost their content, the ten that waited all.
		if s.Seen != 50 || s.Reasons[QueueFull] != 38 || s.Reasons[Stopped] != 10 || s.Captured != 2 || s.Waiting != 0 || released.Load() != 50 {
			t.Errorf("%+v, %d released", s, released.Load())
		}
	})
}

func TestCaptureBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var released atomic.Int64
		c, _ := newCapture(t, CaptureOptions{Redactor: &fakeRedactor{wait: time.Second}, MaxQueueBytes: 3500, Workers: 1})
		taken := 0
		for i := range 10 {
			if c.Take(tap(sample(i), &released)) {
				taken++
			}
		}
		if taken != 3 {
			t.Errorf("%d taken", taken)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

type everyOther struct{ n int }

func (s *everyOther) Keep(*record.Exchange) (bool, float64) {
	s.n++
	return s.n%2 == 0, .5
}

func TestCaptureSamples(t *testing.T) {
	var released atomic.Int64
	s := &everyOther{}
	c, p := newCapture(t, CaptureOptions{Workers: 1, Sampler: func(string) Sampler { return s }})
	for i := range 10 {
		c.Take(tap(sample(i), &released))
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	kept := 0
	xs, _ := decodeAll(t, p)
	for _, x := range xs {
		if x.Inclusion != .5 || x.Latency == nil {
			t.Errorf("%+v", x)
		}
		if x.Content != nil {
			kept++
		}
	}
	if kept != 5 || len(xs) != 10 {
		t.Errorf("%d of %d", kept, len(xs))
	}
}

func TestLimit(t *testing.T) {
	codec := NewCodec()
	f := func(change func(*record.Exchange), wantCut ...string) record.Exchange {
		t.Helper()
		x := sample(1)
		change(&x)
		b, err := Limit{MaxContent: 10_000}.encode(codec, &x)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > maxRecord {
			t.Errorf("%d bytes", len(b))
		}
		if !slices.Equal(x.Cut, wantCut) {
			t.Errorf("cut %v, want %v", x.Cut, wantCut)
		}
		if x.Content != nil && contentSize(x.Content) > 10_000 {
			t.Errorf("%d bytes of content", contentSize(x.Content))
		}
		return x
	}
	long := strings.Repeat("é", 20_000)
	f(func(*record.Exchange) {})
	f(func(x *record.Exchange) { x.Content.Body = []byte(long) }, "body")
	x := f(func(x *record.Exchange) {
		x.Content.Input = append([]record.Message{{Role: "user", Content: long}}, x.Content.Input...)
	}, "input")
	if len(x.Content.Input) != 1 || x.Content.Input[0].Content == "" {
		t.Errorf("%+v", x.Content.Input)
	}
	f(func(x *record.Exchange) { x.Content.Output = long }, "output")
	f(func(x *record.Exchange) {
		x.Content.System, x.Content.Input[0].Content, x.Content.Output = long, long, long
	}, "system", "input", "output")
	f(func(x *record.Exchange) {
		x.Content.ToolCalls = []record.ToolCall{{Name: "a"}, {Arguments: long}}
	}, "tool_calls")
	f(func(x *record.Exchange) { x.Error = long }, "error")
	f(func(x *record.Exchange) {
		x.Content.Input = []record.Message{{Role: "user", Parts: []record.Part{{Text: "see"}, {ImageURL: "data:" + long}}}}
	}, "input")
	f(func(x *record.Exchange) { x.Embedding = make([]float32, 100_000) }, "embedding")
	f(func(x *record.Exchange) { x.Params["x"] = strings.Repeat("y", maxRecord) }, "content", "params", "tags")
	x = sample(1)
	x.TopK = []record.TokenLogprob{{Token: "a"}}
	if _, err := (Limit{}).encode(codec, &x); err != nil || x.TopK != nil || x.Cut != nil {
		t.Errorf("%v %+v", err, x)
	}
}
