package guard

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/telltale-llm/telltale/internal/record"
)

// schemaURL is the name under which a schema is compiled. It has a scheme of its own so that a relative $ref cannot become
// the path of a file.
const schemaURL = "telltale:///guard"

// fixRule is the rule of the span that replaces a whole text by its repaired form.
const fixRule = -1

type noLoading struct{}

func (noLoading) Load(url string) (any, error) {
	return nil, fmt.Errorf("a $ref to %q is not followed", strings.TrimPrefix(url, "telltale:///"))
}

func compileSchema(source []byte) (*jsonschema.Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(source))
	if err != nil {
		return nil, errors.New("the schema is not JSON")
	}
	c := jsonschema.NewCompiler()
	c.UseLoader(noLoading{})
	c.AssertFormat()
	if err := c.AddResource(schemaURL, doc); err != nil {
		return nil, schemaProblem(err)
	}
	s, err := c.Compile(schemaURL)
	if err != nil {
		return nil, schemaProblem(err)
	}
	return s, nil
}

func schemaProblem(err error) error {
	if outer, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		err = outer.Err
	}
	if refused, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return refused.Err
	}
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return errors.New("not a valid JSON Schema: " + violation(invalid, true))
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New("not a valid JSON Schema: " + strings.ReplaceAll(line, schemaURL, ""))
}

// violation says where a value does not conform and why, for the model when it is asked again. Without values it names the
// place and the keyword alone.
func violation(e *jsonschema.ValidationError, values bool) string {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	at := "/" + strings.Join(e.InstanceLocation, "/")
	if values {
		return at + ": " + e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
	}
	return "the keyword " + strings.Join(e.ErrorKind.KeywordPath(), "/")
}

// conforms returns "" when a text is JSON of the schema, or what is wrong with it.
func (g *Guard) conforms(s string) string {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(s))
	if err != nil {
		return "the answer is not one JSON value"
	}
	err = g.schema.Validate(v)
	if invalid, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
		return violation(invalid, true)
	}
	if err != nil {
		return "the answer cannot be validated"
	}
	return ""
}

// conform makes the text of an owner conform to the schema, or does what is left. It returns true when the answer does not
// go on as it came.
func (a *Answer) conform(o *owner) bool {
	if a.g.schema == nil || o.blocked {
		return false
	}
	var c *channel
	for _, x := range o.channels {
		if x.key == (key{}) {
			c = x
		}
	}
	if c == nil && len(o.channels) > 0 {
		return false // a call, or a refusal of the model's own
	}
	said := ""
	if c != nil {
		said = string(c.after())
	}
	problem := a.g.conforms(said)
	if problem == "" {
		return false
	}
	for _, try := range repairs(said) {
		if a.g.conforms(try) != "" {
			continue
		}
		if i, _ := a.g.search(try); i >= 0 {
			continue // what was apart has grown together
		}
		o.fix, o.fixed = []byte(try), true
		c.spans = []span{{0, c.pos, fixRule, ""}}
		a.report.Repaired = true
		return false
	}
	ask := "Your last answer was not valid. " + problem + ". Answer again with one JSON value that conforms to this JSON Schema, and nothing else:\n" + string(a.g.c.Schema)
	if a.again(a.g.c.Ask, ask, string(FailSchema)) {
		return true
	}
	a.refuse(FailSchema)
	return true
}

// after is the text of a channel as the filters let it through.
func (c *channel) after() []byte {
	if len(c.spans) == 0 {
		return c.held
	}
	return spliceJSON(nil, c.held, 0, c.spans, c.owner.a.g.stand)
}

// repairs are the readings of a text that was meant to be JSON, the most literal first: what is in a fence, what is between the
// outermost brackets, and both with the usual slips mended. None is the text itself.
func repairs(s string) []string {
	var out []string
	add := func(t string) {
		if t = strings.TrimSpace(t); t != "" && !slices.Contains(out, t) {
			out = append(out, t)
		}
	}
	found := candidates(s)
	for _, c := range found {
		add(c)
	}
	for _, c := range found {
		if m, ok := mend(c); ok {
			add(m)
		}
	}
	return out
}

// candidates are the parts of a text that may be JSON.
func candidates(s string) []string {
	var out []string
	for rest := s; ; {
		_, after, ok := strings.Cut(rest, "```")
		if !ok {
			break
		}
		if line, body, more := strings.Cut(after, "\n"); more && !strings.ContainsAny(line, "{[") {
			after = body
		}
		inside, behind, _ := strings.Cut(after, "```")
		out = append(out, inside)
		rest = behind
	}
	b := []byte(s)
	tries := 0
	for i := 0; i < len(b) && tries < 32; i++ {
		if b[i] != '{' && b[i] != '[' {
			continue
		}
		tries++
		if end := skipValue(b, i, deepest); end > 0 {
			out = append(out, s[i:end])
			i = end - 1
		}
	}
	if i := strings.IndexAny(s, "{["); i >= 0 {
		closing := "}"
		if s[i] == '[' {
			closing = "]"
		}
		if k := strings.LastIndex(s, closing); k > i {
			out = append(out, s[i:k+1])
		}
		out = append(out, s[i:])
	}
	return out
}

// errorBody is the answer that says that the guard let nothing through.
func (a *Answer) errorBody(dst []byte, why Failure) []byte {
	said := map[Failure]string{
		FailEncoding:  "The answer is compressed and cannot be checked.",
		FailMalformed: "The answer of the model provider cannot be read, so that it cannot be checked.",
		FailTooLarge:  "The answer is too large to be checked.",
		FailBound:     "The answer cannot be checked.",
		FailCut:       "The answer of the model provider ended early.",
		FailSchema:    "The answer does not conform to the JSON Schema that this route asks for.",
	}[why]
	if a.o.API == record.APIMessages {
		dst = append(dst, `{"type":"error","error":{"type":"api_error","message":`...)
		return append(append(dst, quote(said)...), "}}\n"...)
	}
	dst = append(append(append(dst, `{"error":{"message":`...), quote(said)...), `,"type":"server_error","param":null,"code":"guard_`...)
	return append(append(dst, why...), "\"}}\n"...)
}

// valid says whether a text is JSON.
func valid(s string) bool { return json.Valid([]byte(s)) }
