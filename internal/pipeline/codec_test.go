package pipeline

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// fill sets every field of v to something, so that a field which is not carried is noticed, also one added later.
func fill(v reflect.Value, r *rand.Rand) {
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.UnixMicro(1.7e15 + r.Int64N(1e12)).UTC()))
		return
	case reflect.TypeFor[map[string]any]():
		v.Set(reflect.ValueOf(map[string]any{
			"temperature": .7, "max_tokens": int64(500), "minus": int64(-3), "stop": []any{"a", nil, true}, "format": map[string]any{"type": "x", "deep": map[string]any{"n": 1.5}},
		}))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), r)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), r)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(k, r)
			fill(e, r)
			v.SetMapIndex(k, e)
		}
	case reflect.String:
		v.SetString(fmt.Sprint("é\"\n", r.IntN(1000)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1 + r.Int64N(1<<40))
	case reflect.Uint8:
		v.SetUint(1 + uint64(r.IntN(200)))
	case reflect.Float64, reflect.Float32:
		v.SetFloat(float64(float32(r.NormFloat64())))
	default:
		panic(v.Type().String())
	}
}

func TestCodec(t *testing.T) {
	c := NewCodec()
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var x record.Exchange
		fill(reflect.ValueOf(&x).Elem(), r)
		b, err := c.Exchange(&x)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(&x, m.Exchange) {
			t.Fatalf("sent\n%+v\ngot\n%+v", x, *m.Exchange)
		}
		var s record.Snapshot
		fill(reflect.ValueOf(&s).Elem(), r)
		if b, err = c.Snapshot(&s); err != nil {
			t.Fatal(err)
		}
		if m, err = c.Decode(b); err != nil || !reflect.DeepEqual(&s, m.Snapshot) {
			t.Fatalf("%v: sent\n%+v\ngot\n%+v", err, s, m.Snapshot)
		}
		var l record.Late
		fill(reflect.ValueOf(&l).Elem(), r)
		if b, err = c.Late(&l); err != nil {
			t.Fatal(err)
		}
		if m, err = c.Decode(b); err != nil || m.Exchange != nil || !reflect.DeepEqual(&l, m.Late) {
			t.Fatalf("%v: sent\n%+v\ngot\n%+v", err, l, m.Late)
		}
	}
	x := record.Exchange{ID: "a", Content: &record.Content{Output: "\xff\xfe"}}
	b, err := c.Exchange(&x)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := c.Decode(b); err != nil || m.Exchange.Content.Output != "\xff\xfe" {
		t.Errorf("%+v %v", m, err)
	}
	for _, bad := range [][]byte{nil, {'x'}, {0xf6}, b[:len(b)-1], {0xa0}, []byte(snapshotStart), []byte(snapshotStart + "\xf6"), []byte(scoreStart), []byte(scoreStart + "\xf6"), []byte(scoreStart + "\xa0")} {
		if _, err := c.Decode(bad); err == nil {
			t.Errorf("%q decoded", bad)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := NewCodec()
	x := sample(1)
	b, err := c.Exchange(&x)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("\xa1\x62id\x61a"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := c.Decode(b)
		if err != nil || m.Exchange == nil {
			return
		}
		if _, err := c.Exchange(m.Exchange); err != nil {
			t.Error(err)
		}
	})
}

func ptr[T any](v T) *T { return &v }

var sampleStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// sample is an exchange of about 1 KB of content.
func sample(i int) record.Exchange {
	return record.Exchange{
		ID: fmt.Sprintf("0199d2f5-7a3c-7cc1-9a0f-%012d", i), Source: "gateway", Time: sampleStart.Add(time.Duration(i) * time.Millisecond),
		Route: "support", Variant: []string{"baseline", "canary"}[i%2], Snapshot: "0123456789abcdef", Propensity: 1,
		API: record.APIChat, Stream: true, Provider: "openai", Upstream: "main", Model: "gpt-4o-mini", Served: "gpt-4o-mini-2024-07-18", Fingerprint: "fp_123456",
		Endpoint: "/v1/chat/completions", Status: 200, FinishReason: "stop", Latency: ptr(1 + float64(i%100)/100), TTFT: ptr(.25),
		Gaps: &record.Gaps{Count: 100, Mean: .01, P50: .01, P95: .02, Max: .1}, Usage: &record.Usage{Prompt: 100, Completion: 150, Total: 250}, Cost: ptr(.0012),
		Params: map[string]any{"temperature": .7, "max_tokens": int64(500)}, User: "u-12345", Session: "s-9876", Tags: map[string]string{"team": "a"}, InputHash: "0123456789abcdef",
		InputBytes: 600, OutputBytes: 800, Inclusion: 1, Redaction: "r1-abcdef", Attempts: 1,
		Content: &record.Content{
			System: "You are a helpful assistant.", Output: strings.Repeat("You can reset it in the settings.\n", 15),
			Input: []record.Message{{Role: "user", Content: strings.Repeat("How do I reset \"my\" password? ", 15)}},
		},
	}
}

func BenchmarkCodec(b *testing.B) {
	c := NewCodec()
	x := sample(1)
	data, err := c.Exchange(&x)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Exchange(&x); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := c.Decode(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			j, err := json.Marshal(&x)
			if err != nil {
				b.Fatal(err)
			}
			var y record.Exchange
			if err := json.Unmarshal(j, &y); err != nil {
				b.Fatal(err)
			}
		}
	})
}
