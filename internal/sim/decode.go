package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// FromObject reads the same keys as a sim.yaml from the config of a provider.
func FromObject(o config.Object) (Config, error) { return decode(o, nil) }

// decoder reads nested objects strictly. Places are those of nested keys, by path; a key that is
// not among them is reported at the line of the nearest one above it.
type decoder struct {
	places map[string]config.Pos
	errs   config.Errors
}

func decode(o config.Object, places map[string]config.Pos) (Config, error) {
	d := &decoder{places: places}
	o.Keys = d.merge(o)
	r := o.Reader()
	c := Config{
		Seed:            int64(r.Int("seed", 0)),
		Model:           r.String("model", ""),
		StrictModels:    r.Bool("strict_models", false),
		ClockPerRequest: r.Duration("clock_per_request", 0),
		Defaults: Defaults{
			Version:     r.String("version", ""),
			MaxTokens:   d.count(r, "max_tokens"),
			Stop:        r.Strings("stop"),
			Logprobs:    r.Bool("logprobs", false),
			TopLogprobs: d.count(r, "top_logprobs"),
		},
	}
	c.Defaults.JSON = d.format(r)
	if r.Has("temperature") {
		t := d.number(r, "temperature", 1, 0, 2)
		c.Defaults.Temperature = &t
	}
	if c.Defaults.TopLogprobs > maxTopLogprobs {
		r.Fail("top_logprobs", "too many", fmt.Sprintf("0 to %d", maxTopLogprobs))
	}
	d.behaviour(o, r, &c.Behaviour)
	d.versions(o, r, &c)
	if _, ok := c.Versions[c.Defaults.Version]; !ok && c.Defaults.Version != "" {
		r.Fail("version", "no such version", "one of the keys of versions")
	}
	d.errs.Append(o.Pos, r.Finish())
	if err := d.errs.Err(); err != nil {
		return Config{}, err
	}
	return c, nil
}

// merge returns the places of o's keys: those it brings, or else those known by path.
func (d *decoder) merge(o config.Object) map[string]config.Pos {
	keys := make(map[string]config.Pos, len(o.Map))
	for k := range o.Map {
		if p, ok := d.places[o.Pos.At(k).Key]; ok {
			keys[k] = p
		} else if p, ok := o.Keys[k]; ok {
			keys[k] = p
		}
	}
	return keys
}

// object returns value as an object at p.
func (d *decoder) object(p config.Pos, value any) (config.Object, bool) {
	if known, ok := d.places[p.Key]; ok {
		p = known
	}
	m, ok := value.(map[string]any)
	if !ok {
		d.errs = append(d.errs, &config.Error{Pos: p, Value: fmt.Sprint(value), Problem: "not a mapping", Want: "a mapping"})
		return config.Object{}, false
	}
	o := config.Object{Pos: p, Map: m}
	o.Keys = d.merge(o)
	return o, true
}

// each calls read for every item of the list of objects at key.
func (d *decoder) each(o config.Object, r *config.Reader, key string, read func(config.Object, *config.Reader)) {
	v := r.Any(key)
	if v == nil {
		return
	}
	list, ok := v.([]any)
	if !ok {
		r.Fail(key, "not a list", "a list of mappings")
		return
	}
	for i, e := range list {
		item, ok := d.object(o.At(key).At(fmt.Sprintf("[%d]", i)), e)
		if !ok {
			continue
		}
		ir := item.Reader()
		read(item, ir)
		d.errs.Append(item.Pos, ir.Finish())
	}
}

// behaviour sets in b what r says and leaves the rest.
func (d *decoder) behaviour(o config.Object, r *config.Reader, b *Behaviour) {
	if r.Has("mode") {
		b.Mode = Mode(r.String("mode", ""))
		switch b.Mode {
		case Assistant, Echo, Generated, Rules:
		default:
			r.Fail("mode", "unknown mode", "assistant, echo, generated or answers")
		}
	}
	if r.Has("answers") {
		b.Answers = nil
		d.each(o, r, "answers", func(_ config.Object, r *config.Reader) { b.Answers = append(b.Answers, d.rule(r)) })
	}
	b.Default = r.String("default", b.Default)
	if r.Has("arithmetic") {
		v := d.share(r, "arithmetic", 1)
		b.Accuracy = &v
	}
	if r.Has("length") {
		b.Length = d.dist(r, "length", parseLengths, lengthWant)
	}
	if v := r.Any("latency"); v != nil {
		b.Latency = d.latency(o, r, v)
	}
	if r.Has("errors") {
		b.Faults = nil
		d.each(o, r, "errors", func(_ config.Object, r *config.Reader) { b.Faults = append(b.Faults, d.fault(r)) })
		if sum := b.rateSum(); sum > 1+1e-9 {
			d.errs = append(d.errs, &config.Error{Pos: o.At("errors"), Problem: fmt.Sprintf("the rates add up to %g", sum), Want: "at most 1"})
		}
	}
	if r.Has("script") {
		b.Script = nil
		d.each(o, r, "script", func(_ config.Object, r *config.Reader) { b.Script = append(b.Script, d.step(r)) })
	}
	d.ramps(o, b)
}

func (d *decoder) versions(o config.Object, r *config.Reader, c *Config) {
	v := r.Any("versions")
	if v == nil {
		return
	}
	all, ok := d.object(o.At("versions"), v)
	if !ok {
		return
	}
	names := make([]string, 0, len(all.Map))
	for name := range all.Map {
		names = append(names, name)
	}
	sort.Strings(names)
	c.Versions = make(map[string]Behaviour, len(names))
	for _, name := range names {
		b := c.Behaviour
		if all.Map[name] != nil {
			vo, ok := d.object(all.At(name), all.Map[name])
			if !ok {
				continue
			}
			vr := vo.Reader()
			b.Seed = int64(vr.Int("seed", 0))
			d.behaviour(vo, vr, &b)
			d.errs.Append(vo.Pos, vr.Finish())
		}
		c.Versions[name] = b
	}
}

func (d *decoder) rule(r *config.Reader) Rule {
	rule := Rule{Match: r.String("match", ""), Contains: r.String("contains", ""), Equals: r.String("equals", "")}
	set := 0
	for _, s := range []string{rule.Match, rule.Contains, rule.Equals} {
		if s != "" {
			set++
		}
	}
	if set != 1 {
		r.Fail("match", fmt.Sprintf("%d of match, contains and equals are set", set), "one")
	}
	if _, err := regexp.Compile(rule.Match); err != nil {
		r.Fail("match", err.Error(), "a regular expression in Go's syntax")
	}
	kinds := 0
	if r.Has("answer") {
		kinds++
		rule.Answers = []string{r.String("answer", "")}
	}
	if r.Has("answers") {
		kinds++
		rule.Answers = r.Strings("answers")
	}
	if r.Has("json") {
		kinds++
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.Any("json")); err != nil {
			r.Fail("json", err.Error(), "a value that JSON can hold")
		}
		rule.Answers = []string{strings.TrimSuffix(b.String(), "\n")}
	}
	switch {
	case kinds != 1:
		r.Fail("answer", fmt.Sprintf("%d of answer, answers and json are set", kinds), "one")
	case len(rule.Answers) == 0:
		r.Fail("answers", "no answer", "at least one")
	}
	return rule
}

func (d *decoder) latency(o config.Object, r *config.Reader, v any) Latency {
	if _, ok := v.(map[string]any); !ok {
		return Latency{TTFT: d.dist(r, "latency", ParseTimes, distWant+"; or {ttft: …, per_token: …}")}
	}
	lo, _ := d.object(o.At("latency"), v)
	lr := lo.Reader()
	l := Latency{
		TTFT:     d.dist(lr, "ttft", ParseTimes, distWant),
		PerToken: d.dist(lr, "per_token", ParseTimes, distWant),
	}
	d.errs.Append(lo.Pos, lr.Finish())
	return l
}

func (d *decoder) fault(r *config.Reader) Fault {
	f := Fault{
		Kind:       FaultKind(r.String("kind", "")),
		Status:     r.Int("status", 0),
		Rate:       d.share(r, "rate", 1),
		RetryAfter: r.Duration("retry_after", 0),
		After:      r.Duration("after", 0),
		Message:    r.String("message", ""),
	}
	if r.Has("should_retry") {
		v := r.Bool("should_retry", false)
		f.Retry = &v
	}
	if f.Kind == "" {
		f.Kind = Status
	}
	switch f.Kind {
	case Status:
		if f.Status < 400 || f.Status > 599 {
			r.Fail("status", "not an HTTP error", "400 to 599, or kind: hang, reset, cut, stream_error, malformed or empty")
		}
	case Hang, Reset, Cut, StreamError, Malformed, Empty:
		if f.Status != 0 {
			r.Fail("status", "set beside kind "+string(f.Kind), "status or kind, not both")
		}
	default:
		r.Fail("kind", "unknown kind", "hang, reset, cut, stream_error, malformed or empty, or status: 400 to 599")
	}
	return f
}

func (d *decoder) step(r *config.Reader) Step {
	s := Step{
		From:        d.instant(r, "from"),
		To:          d.instant(r, "to"),
		FromRequest: int64(d.count(r, "from_request")),
		ToRequest:   int64(d.count(r, "to_request")),
		Regression:  Regression(r.String("regression", "")),
	}
	if (r.Has("from") || r.Has("to")) && (s.FromRequest > 0 || s.ToRequest > 0) {
		r.Fail("from_request", "set beside from or to", "a window in time or in requests, not both")
	}
	if s.To > 0 && s.To <= s.From {
		r.Fail("to", "not after from", "a later time")
	}
	if s.ToRequest > 0 && s.ToRequest <= s.FromRequest {
		r.Fail("to_request", "not after from_request", "a later request")
	}
	switch s.Regression {
	case LatencyRamp:
		s.Factor = d.number(r, "factor", 1, 1, 1000)
		s.Add = r.Duration("add", 0)
		s.Over = r.Duration("over", 0)
		if r.Has("rate") {
			if s.Rate = d.share(r, "rate", 1); s.Rate == 0 {
				r.Fail("rate", "no answer gets slower", "a share above 0")
			}
		}
		if s.Factor == 1 && s.Add == 0 {
			r.Fail("factor", "the ramp adds nothing", "factor above 1, or add: such as 300ms")
		}
	case ErrorSpike:
		if !r.Has("status") && !r.Has("kind") {
			s.Fault = Fault{Kind: Status, Status: 500, Rate: d.share(r, "rate", 1)}
		} else {
			s.Fault = d.fault(r)
		}
	case Longer:
		s.Rate = d.share(r, "rate", 1)
		s.Factor = d.number(r, "factor", 2, 1, 100)
	case Toxic, BrokenJSON, Refusals, TokenShift:
		s.Rate = d.share(r, "rate", 1)
	default:
		r.Fail("regression", "unknown regression", "latency_ramp, error_spike, toxic, broken_json, refusals, longer or token_shift")
	}
	return s
}

// ramps refuses a ramp that multiplies nothing.
func (d *decoder) ramps(o config.Object, b *Behaviour) {
	for i, s := range b.Script {
		if s.Regression == LatencyRamp && s.Add == 0 && b.Latency == (Latency{}) {
			p := o.At("script").At(fmt.Sprintf("[%d]", i))
			if known, ok := d.places[p.Key]; ok {
				p = known
			}
			d.errs = append(d.errs, &config.Error{Pos: p, Problem: "a latency_ramp by factor, and no latency to multiply", Want: "latency, or add: such as 300ms"})
		}
	}
}

// format reads response_format: text, json, or OpenAI's {type: json_object}.
func (d *decoder) format(r *config.Reader) bool {
	v := r.Any("response_format")
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		v = m["type"]
	}
	switch v {
	case nil, "text":
		return false
	case "json", "json_object":
		return true
	}
	r.Fail("response_format", "unknown format", "text or json_object")
	return false
}

func (d *decoder) share(r *config.Reader, key string, def float64) float64 {
	return d.number(r, key, def, 0, 1)
}

func (d *decoder) number(r *config.Reader, key string, def, low, high float64) float64 {
	v := r.Float(key)
	if v == nil {
		return def
	}
	if *v < low || *v > high {
		r.Fail(key, "out of range", fmt.Sprintf("a number from %g to %g", low, high))
	}
	return *v
}

func (d *decoder) count(r *config.Reader, key string) int {
	n := r.Int(key, 0)
	if n < 0 || n > math.MaxInt32 {
		r.Fail(key, "out of range", "a whole number, 0 or more")
	}
	return n
}

// instant reads a time since the start, which may be 0.
func (d *decoder) instant(r *config.Reader, key string) time.Duration {
	v := r.Any(key)
	if v == nil {
		return 0
	}
	s := fmt.Sprint(v)
	if f, err := strconv.ParseFloat(s, 64); err == nil && f == 0 || s == "0s" {
		return 0
	}
	return r.Duration(key, 0)
}

func (d *decoder) dist(r *config.Reader, key string, parse func(string) (Dist, error), want string) Dist {
	s := r.String(key, "")
	if s == "" {
		return Dist{}
	}
	v, err := parse(s)
	if err != nil {
		r.Fail(key, err.Error(), want)
	}
	return v
}
