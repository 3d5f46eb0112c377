package baseline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// An object is JSON Lines. The first line is a header. Then come samples in the order of the run, and before the first
// sample that is scored in a new way a form: what its scores are called and what they measure, so that a sample's line
// holds little more than numbers. Every line ends with the CRC-32 of what stands before it.

// header is the first line.
type header struct {
	Format string `json:"format"`
	// Snapshots are those of the samples, in the order in which their lines number them.
	Snapshots []cell `json:"snapshots"`
}

type cell struct {
	Provider string `json:"provider"`
	Prompt   string `json:"prompt"`
}

// formLine gives the next number, from 0, to a form.
type formLine struct {
	Form []form `json:"form"`
}

// form is what the scores of many samples have in common.
type form struct {
	Name     string        `json:"name"`
	Type     string        `json:"type"`
	Weight   *float64      `json:"weight,omitempty"`
	Turn     int           `json:"turn,omitempty"`
	Measures []measureForm `json:"measures,omitempty"`
	Parts    []form        `json:"parts,omitempty"`
}

type measureForm struct {
	Metric string `json:"metric"`
	Kind   string `json:"kind,omitempty"`
	Unit   string `json:"unit,omitempty"`
}

// sampleLine is one sample. What belongs to the case stands in its first sample only.
type sampleLine struct {
	Case     string          `json:"case"`
	Vars     string          `json:"vars,omitempty"` // hash
	Group    string          `json:"group,omitempty"`
	Tags     []string        `json:"tags,omitempty"`
	Critical bool            `json:"critical,omitempty"`
	Snapshot int             `json:"snapshot,omitempty"`
	Repeat   int             `json:"repeat,omitempty"`
	Verdict  verdict.Verdict `json:"verdict"`
	Score    *float64        `json:"score,omitempty"`
	Form     *int            `json:"form,omitempty"`
	Scores   []given         `json:"scores,omitempty"`
	Output   string          `json:"output,omitempty"` // hash
	Text     *string         `json:"text,omitempty"`
	Error    string          `json:"error,omitempty"`
	Latency  *float64        `json:"latency,omitempty"`
	TTFT     *float64        `json:"ttft,omitempty"`
	Cost     *float64        `json:"cost,omitempty"`
	Tokens   *[2]int         `json:"tokens,omitempty"` // of the prompt and of the answer
	Cached   bool            `json:"cached,omitempty"`
}

// given is what one score adds to its form. It is written as true or false for a value of 1 or 0 with that outcome, as
// a number for a value without outcome, and as an object for everything else.
type given struct {
	Value *float64 `json:"value,omitempty"`
	Pass  *bool    `json:"pass,omitempty"`
	// Measures are those of the form; left out when there is one and it is Value.
	Measures []measured `json:"measures,omitempty"`
	// Judge counts a judge's calls and those that gave no verdict.
	Judge  *[2]int `json:"judge,omitempty"`
	Error  string  `json:"error,omitempty"`
	Reason string  `json:"reason,omitempty"`
	Parts  []given `json:"parts,omitempty"`
}

// measured is a measure: a number, or [value, weight, statistics…].
type measured struct {
	value, weight float64
	stats         []float64
}

func (m measured) MarshalJSON() ([]byte, error) {
	if m.weight == 0 && len(m.stats) == 0 {
		return marshal(m.value)
	}
	return marshal(append([]float64{m.value, m.weight}, m.stats...))
}

func (m *measured) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '[' {
		if string(b) == "null" {
			return errors.New("a measure is null")
		}
		return json.Unmarshal(b, &m.value)
	}
	var list []*float64
	if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	if len(list) < 2 || slices.Contains(list, nil) {
		return fmt.Errorf("a measure of %d numbers, want a value and a weight", len(list))
	}
	m.value, m.weight = *list[0], *list[1]
	for _, x := range list[2:] {
		m.stats = append(m.stats, *x)
	}
	return nil
}

// plainGiven is given without its methods.
type plainGiven given

func (g given) MarshalJSON() ([]byte, error) {
	bare := g.Value != nil && g.Measures == nil && g.Judge == nil && g.Error == "" && g.Reason == "" && g.Parts == nil
	switch {
	case bare && g.Pass == nil:
		return marshal(*g.Value)
	case bare && *g.Pass && *g.Value == 1:
		return []byte("true"), nil
	case bare && !*g.Pass && *g.Value == 0:
		return []byte("false"), nil
	}
	return marshal(plainGiven(g))
}

func (g *given) UnmarshalJSON(b []byte) error {
	*g = given{}
	switch {
	case string(b) == "null":
		return errors.New("a score is null")
	case string(b) == "true":
		g.Value, g.Pass = new(1.0), new(true)
		return nil
	case string(b) == "false":
		g.Value, g.Pass = new(0.0), new(false)
		return nil
	case len(b) > 0 && b[0] == '{':
		return strict(b, (*plainGiven)(g))
	}
	g.Value = new(0.0)
	return json.Unmarshal(b, g.Value)
}

// strict decodes one JSON value and refuses keys that are not known.
func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if rest := bytes.TrimSpace(b[d.InputOffset():]); len(rest) > 0 {
		return errors.New("something follows after the JSON")
	}
	return nil
}

// How much of a text is kept along with outputs, in bytes.
const keptText = 400

// codec turns samples into lines and back. It remembers forms and the case at hand.
type codec struct {
	header  header
	forms   map[string]int // by their JSON
	defined [][]form
	first   sampleLine // of the case at hand
	started bool
	outputs bool
}

// write returns the lines for a sample: its own, and before it that of a form which is new.
func (c *codec) write(s *record.Sample) (lines [][]byte, err error) {
	at := slices.Index(c.header.Snapshots, cell{s.Provider, s.Prompt})
	if at < 0 {
		return nil, fmt.Errorf("the sample %q belongs to no snapshot of the run: %q", s.Case, s.Provider+" · "+s.Prompt)
	}
	l := sampleLine{
		Case: s.Case, Snapshot: at, Repeat: s.Repeat, Verdict: s.Verdict, Score: s.Score, Latency: s.Latency, TTFT: s.TTFT, Cost: s.Cost, Cached: s.Cached,
	}
	if !c.started || c.first.Case != s.Case {
		l.Vars, l.Group, l.Tags, l.Critical = record.HashVars(s.Vars), s.Group, s.Tags, s.Critical
		c.started, c.first = true, l
	}
	if s.Usage != nil {
		l.Tokens = &[2]int{s.Usage.Prompt, s.Usage.Completion}
	}
	if s.Error != "" {
		l.Error = errorKind(s.Error)
		if c.outputs {
			l.Error = config.Clip(s.Error, keptText)
		}
	} else {
		l.Output = record.HashBytes([]byte(s.Output))
		if c.outputs {
			l.Text = &s.Output
		}
	}
	if len(s.Scores) > 0 {
		forms := make([]form, len(s.Scores))
		l.Scores = make([]given, len(s.Scores))
		for i := range s.Scores {
			forms[i], l.Scores[i] = c.split(&s.Scores[i])
		}
		key, err := marshal(formLine{forms})
		if err != nil {
			return nil, err
		}
		n, known := c.forms[string(key)]
		if !known {
			if c.forms == nil {
				c.forms = map[string]int{}
			}
			n = len(c.forms)
			c.forms[string(key)] = n
			lines = append(lines, key)
		}
		l.Form = &n
	}
	line, err := marshal(l)
	return append(lines, line), err
}

// split parts a score into what it has in common with others and its numbers.
func (c *codec) split(s *record.Score) (form, given) {
	f := form{Name: s.Name, Type: s.Type, Weight: s.Weight, Turn: s.Turn}
	g := given{Value: s.Value, Pass: s.Pass}
	for i := range s.Measures {
		m := &s.Measures[i]
		f.Measures = append(f.Measures, measureForm{m.Metric, m.Kind, m.Unit})
		g.Measures = append(g.Measures, measured{m.Value, m.Weight, m.Stats})
	}
	if m := g.Measures; len(m) == 1 && g.Value != nil && m[0].value == *g.Value && m[0].weight == 0 && len(m[0].stats) == 0 {
		g.Measures = nil
	}
	if s.Judge != nil {
		g.Judge = &[2]int{s.Judge.Calls, s.Judge.Invalid}
	}
	if s.Error != "" {
		g.Error = "error"
	}
	if c.outputs {
		g.Error, g.Reason = config.Clip(s.Error, keptText), config.Clip(s.Reason, keptText)
	}
	for i := range s.Scores {
		pf, pg := c.split(&s.Scores[i])
		f.Parts, g.Parts = append(f.Parts, pf), append(g.Parts, pg)
	}
	return f, g
}

// errorKind is the kind of failure that an error's text begins with, or "error".
func errorKind(text string) string {
	for _, k := range record.FailureKinds() {
		rest, ok := strings.CutPrefix(text, string(k))
		if ok && (rest == "" || rest[0] == ':' || rest[0] == ' ') {
			return string(k)
		}
	}
	return "error"
}

// decoded is a sample as it was read.
type decoded struct {
	sample record.Sample
	vars   uint64
	output string // hash
}

func (c *codec) readHeader(text []byte) error {
	if err := strict(text, &c.header); err != nil {
		return err
	}
	if c.header.Format != Format {
		return fmt.Errorf("the format is %q, not %q", c.header.Format, Format)
	}
	return nil
}

// read decodes a line after the header; isSample is false for a form.
func (c *codec) read(text []byte) (d decoded, isSample bool, err error) {
	if bytes.HasPrefix(text, []byte(`{"form":[`)) {
		var f formLine
		if err := strict(text, &f); err != nil {
			return d, false, err
		}
		c.defined = append(c.defined, f.Form)
		return d, false, nil
	}
	var l sampleLine
	if err := strict(text, &l); err != nil {
		return d, false, err
	}
	if l.Vars != "" {
		c.started, c.first = true, l
	}
	if !c.started || l.Case != c.first.Case {
		return d, false, fmt.Errorf("the first sample of case %q has no hash of its variables", l.Case)
	}
	if d.vars, err = parseHash(c.first.Vars); err != nil {
		return d, false, err
	}
	if l.Snapshot < 0 || l.Snapshot >= len(c.header.Snapshots) {
		return d, false, fmt.Errorf("snapshot %d of %d", l.Snapshot, len(c.header.Snapshots))
	}
	if l.Repeat < 0 {
		return d, false, fmt.Errorf("repeat %d", l.Repeat)
	}
	d.output = l.Output
	at := c.header.Snapshots[l.Snapshot]
	d.sample = record.Sample{
		Case: l.Case, Group: c.first.Group, Tags: c.first.Tags, Critical: c.first.Critical, Repeat: l.Repeat, Provider: at.Provider, Prompt: at.Prompt,
		Verdict: l.Verdict, Score: l.Score, Latency: l.Latency, TTFT: l.TTFT, Cost: l.Cost, Cached: l.Cached, Error: l.Error,
	}
	if l.Text != nil {
		d.sample.Output = *l.Text
	}
	if l.Tokens != nil {
		d.sample.Usage = &record.Usage{Prompt: l.Tokens[0], Completion: l.Tokens[1]}
	}
	if l.Form == nil {
		if len(l.Scores) > 0 {
			return d, false, errors.New("scores without a form")
		}
		return d, true, nil
	}
	if *l.Form < 0 || *l.Form >= len(c.defined) {
		return d, false, fmt.Errorf("form %d of %d", *l.Form, len(c.defined))
	}
	d.sample.Scores, err = join(c.defined[*l.Form], l.Scores)
	return d, err == nil, err
}

// join makes scores of a form and its numbers.
func join(forms []form, got []given) ([]record.Score, error) {
	if len(forms) != len(got) {
		return nil, fmt.Errorf("%d scores for a form of %d", len(got), len(forms))
	}
	if len(forms) == 0 {
		return nil, nil
	}
	out := make([]record.Score, len(forms))
	for i := range forms {
		f, g := &forms[i], &got[i]
		s := record.Score{Name: f.Name, Type: f.Type, Weight: f.Weight, Turn: f.Turn, Value: g.Value, Pass: g.Pass, Error: g.Error, Reason: g.Reason}
		if g.Judge != nil {
			s.Judge = &record.Judging{Calls: g.Judge[0], Invalid: g.Judge[1]}
		}
		numbers := g.Measures
		if len(numbers) == 0 && len(f.Measures) == 1 && g.Value != nil {
			numbers = []measured{{value: *g.Value}}
		}
		if len(numbers) != len(f.Measures) {
			return nil, fmt.Errorf("%d measures of %q for a form of %d", len(numbers), f.Name, len(f.Measures))
		}
		for k, m := range f.Measures {
			s.Measures = append(s.Measures, record.Measure{Metric: m.Metric, Kind: m.Kind, Unit: m.Unit, Value: numbers[k].value, Weight: numbers[k].weight, Stats: numbers[k].stats})
		}
		var err error
		if s.Scores, err = join(f.Parts, g.Parts); err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// sumKey begins the checksum, the last key of each line.
const sumKey = `,"sum":"`

// summed adds the checksum to a line of JSON, and its end.
func summed(line []byte) []byte {
	sum := crc32.ChecksumIEEE(line)
	return fmt.Appendf(line[:len(line)-1:len(line)-1], "%s%08x\"}\n", sumKey, sum)
}

// unsum checks and takes off the checksum.
func unsum(line []byte) ([]byte, error) {
	at := len(line) - len(sumKey) - len(`01234567"}`)
	if at < 1 || string(line[at:at+len(sumKey)]) != sumKey || !bytes.HasSuffix(line, []byte(`"}`)) {
		return nil, errors.New("the line does not end in a checksum")
	}
	want, err := strconv.ParseUint(string(line[at+len(sumKey):len(line)-2]), 16, 32)
	if err != nil {
		return nil, errors.New("the line does not end in a checksum")
	}
	body := append(line[:at:at], '}')
	if got := crc32.ChecksumIEEE(body); got != uint32(want) {
		return nil, fmt.Errorf("the line was changed after it was written: its checksum is %08x, not %08x", got, want)
	}
	return body, nil
}
