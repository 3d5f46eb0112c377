package export

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The names of OpenTelemetry's semantic conventions for generative AI that are used here, and telltale's
// own for what they do not name.
const (
	eventName = "gen_ai.evaluation.result"

	attrEventName   = "event.name" // for receivers that do not know eventName as a field of the record
	attrName        = "gen_ai.evaluation.name"
	attrValue       = "gen_ai.evaluation.score.value"
	attrLabel       = "gen_ai.evaluation.score.label"
	attrExplanation = "gen_ai.evaluation.explanation"
	attrResponseID  = "gen_ai.response.id"
	attrModel       = "gen_ai.response.model"
	attrErrorType   = "error.type"

	attrRun      = "telltale.run.id"
	attrSuite    = "telltale.suite"
	attrCase     = "telltale.case.id"
	attrGroup    = "telltale.case.group"
	attrTags     = "telltale.case.tags"
	attrSample   = "telltale.sample.index" // place in samples.jsonl, from 1
	attrRepeat   = "telltale.sample.repeat"
	attrProvider = "telltale.provider"
	attrPrompt   = "telltale.prompt"
	attrKind     = "telltale.scorer.type"

	// verdictName is the evaluation that stands for a sample's verdict over all its scores.
	verdictName = "telltale.verdict"
)

// Bounds of a request: a collector takes 20 MB by default, others less.
const (
	batchRecords   = 500
	batchBytes     = 1 << 20
	maxExplanation = 2000
	maxAttribute   = 1000
	maxTags        = 50
)

// A keyValue is an attribute in OTLP's JSON.
type keyValue struct {
	Key   string   `json:"key"`
	Value anyValue `json:"value"`
}

// anyValue is one of OTLP's values; 64-bit integers are strings in its JSON.
type anyValue struct {
	String *string  `json:"stringValue,omitempty"`
	Int    string   `json:"intValue,omitempty"`
	Double *float64 `json:"doubleValue,omitempty"`
	Array  *array   `json:"arrayValue,omitempty"`
}

type array struct {
	Values []anyValue `json:"values"`
}

func text(key, value string) keyValue {
	return keyValue{key, anyValue{String: new(clip(value, maxAttribute))}}
}

func integer(key string, n int) keyValue { return keyValue{key, anyValue{Int: strconv.Itoa(n)}} }

type logRecord struct {
	Time       string     `json:"timeUnixNano"`
	Observed   string     `json:"observedTimeUnixNano"`
	Severity   int        `json:"severityNumber"`
	SeverityIs string     `json:"severityText"`
	EventName  string     `json:"eventName"`
	Attributes []keyValue `json:"attributes"`
}

// severityInfo is INFO in OpenTelemetry's log data model.
const severityInfo = 9

// Request is one ExportLogsServiceRequest as JSON, and how many events it holds.
type Request struct {
	Body    []byte
	Records int
}

// Requests turns a run into OTLP requests: for each sample an event for each of its scores, and one for
// its verdict. The body of a request is valid until the next one is asked for. The time of all events is
// that of the run's end, for samples have none of their own.
func Requests(run *record.Run, samples iter.Seq2[record.Sample, error]) iter.Seq2[Request, error] {
	return func(yield func(Request, error) bool) {
		b := newBatch(run)
		index := 0
		for s, err := range samples {
			if err != nil {
				yield(Request{}, err)
				return
			}
			index++
			for _, r := range events(run, &s, index) {
				line, err := json.Marshal(r)
				if err != nil {
					yield(Request{}, fmt.Errorf("sample %d: %w", index, err))
					return
				}
				if b.full(len(line)) && !yield(b.take(), nil) {
					return
				}
				b.add(line)
			}
		}
		if b.n > 0 {
			yield(b.take(), nil)
		}
	}
}

// WriteOTel writes the requests of a run as lines of JSON, which is what the OpenTelemetry Collector's
// file exporter writes and its receiver for OTLP files reads. It returns the number of events.
func WriteOTel(w io.Writer, run *record.Run, samples iter.Seq2[record.Sample, error]) (int, error) {
	n := 0
	for r, err := range Requests(run, samples) {
		if err != nil {
			return n, err
		}
		if _, err := w.Write(append(r.Body, '\n')); err != nil {
			return n, err
		}
		n += r.Records
	}
	return n, nil
}

// batch collects records between the fixed ends of a request.
type batch struct {
	head, tail string
	body       []byte
	n          int
}

func newBatch(run *record.Run) *batch {
	resource := []keyValue{text("service.name", Scope), text("service.version", run.Telltale), text(attrRun, run.ID), text(attrSuite, run.Suite.Path)}
	// Strings and integers can always be written as JSON.
	attributes, _ := json.Marshal(resource)
	scope, _ := json.Marshal(map[string]string{"name": Scope, "version": run.Telltale})
	return &batch{
		head: `{"resourceLogs":[{"resource":{"attributes":` + string(attributes) + `},"scopeLogs":[{"scope":` + string(scope) + `,"logRecords":[`,
		tail: `]}]}]}`,
	}
}

func (b *batch) full(more int) bool {
	return b.n > 0 && (b.n == batchRecords || len(b.body)+more > batchBytes)
}

func (b *batch) add(line []byte) {
	if b.n == 0 {
		b.body = append(b.body[:0], b.head...)
	} else {
		b.body = append(b.body, ',')
	}
	b.body = append(b.body, line...)
	b.n++
}

func (b *batch) take() Request {
	r := Request{append(b.body, b.tail...), b.n}
	b.body, b.n = r.Body, 0
	return r
}

// events are those of one sample.
func events(run *record.Run, s *record.Sample, index int) []logRecord {
	common := []keyValue{text(attrEventName, eventName), text(attrRun, run.ID), text(attrCase, s.Case), integer(attrSample, index), integer(attrRepeat, s.Repeat),
		text(attrProvider, s.Provider), text(attrPrompt, s.Prompt)}
	if s.Group != "" {
		common = append(common, text(attrGroup, s.Group))
	}
	if len(s.Tags) > 0 {
		list := &array{}
		for _, t := range s.Tags[:min(len(s.Tags), maxTags)] {
			list.Values = append(list.Values, anyValue{String: new(clip(t, maxAttribute))})
		}
		common = append(common, keyValue{attrTags, anyValue{Array: list}})
	}
	if s.Model != "" {
		common = append(common, text(attrModel, s.Model))
	}
	if id, ok := responseID(s.Vars); ok {
		common = append(common, text(attrResponseID, id))
	}
	at := strconv.FormatInt(max(moment(run.Times.Finished), 0), 10)
	record := func(own []keyValue) logRecord {
		return logRecord{Time: at, Observed: at, Severity: severityInfo, SeverityIs: "INFO", EventName: eventName, Attributes: append(own, common...)}
	}
	out := make([]logRecord, 0, len(s.Scores)+1)
	for i := range s.Scores {
		out = append(out, record(scored(&s.Scores[i])))
	}
	own := []keyValue{text(attrName, verdictName), text(attrLabel, s.Verdict.String())}
	if finite(s.Score) {
		own = append(own, keyValue{attrValue, anyValue{Double: s.Score}})
	}
	if s.Error != "" {
		own = append(own, explanation(s.Error), text(attrErrorType, metric.Reason(s.Error)))
	} else if s.Verdict == verdict.Error {
		own = append(own, text(attrErrorType, metric.Reason("")))
	}
	return append(out, record(own))
}

// scored are the attributes of one score. What was measured and not judged has no label.
func scored(sc *record.Score) []keyValue {
	name := sc.Name
	if name == "" {
		name = sc.Type
	}
	own := []keyValue{text(attrName, name), text(attrKind, sc.Type)}
	switch {
	case sc.Error != "":
		return append(own, text(attrLabel, verdict.Error.String()), text(attrErrorType, metric.Reason("")), explanation(sc.Error))
	case sc.Pass != nil && *sc.Pass:
		own = append(own, text(attrLabel, verdict.Pass.String()))
	case sc.Pass != nil:
		own = append(own, text(attrLabel, verdict.Fail.String()))
	}
	if finite(sc.Value) {
		own = append(own, keyValue{attrValue, anyValue{Double: sc.Value}})
	}
	if sc.Reason != "" {
		own = append(own, explanation(sc.Reason))
	}
	return own
}

func explanation(s string) keyValue {
	return keyValue{attrExplanation, anyValue{String: new(clip(s, maxExplanation))}}
}

// responseID is the provider's id of the answer, which data sets made of recorded exchanges have as a
// variable.
func responseID(vars map[string]any) (string, bool) {
	for _, name := range []string{attrResponseID, "response_id"} {
		if id, ok := vars[name].(string); ok && id != "" {
			return id, true
		}
	}
	return "", false
}

func moment(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
