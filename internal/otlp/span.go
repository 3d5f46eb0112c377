package otlp

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/telltale-llm/telltale/internal/record"
)

// idOf makes an exchange's id of a span's: a UUID of version 8 from their hash, so that a span that is sent again is
// the same exchange.
func idOf(k spanKey) string {
	h := sha256.New()
	h.Write(k.trace[:])
	h.Write(k.span[:])
	b := h.Sum(nil)[:16]
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x3f|0x80
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// source is where a span comes from.
type source struct {
	name     string // otlp or langfuse
	resource attrs
}

// possible says whether an exchange can have been at t. Clients without a clock send nothing, or nonsense, which no store takes.
func possible(t time.Time) bool { return t.Year() >= 2000 && t.Year() <= 2200 }

// callOf makes a call of a span that is one. a are the span's attributes.
func (r *Receiver) callOf(s ptrace.Span, a attrs, op operation, from source) *call {
	c := &call{key: spanKey{s.TraceID(), s.SpanID()}, parent: spanKey{s.TraceID(), s.ParentSpanID()}}
	x := &c.x
	x.ID, x.Source = idOf(c.key), from.name
	at := time.Now()
	if start := s.StartTimestamp().AsTime(); possible(start) {
		at = start
	}
	x.Time = at.UTC().Truncate(time.Microsecond)
	x.TraceID, x.SpanID = hex.EncodeToString(c.key.trace[:]), hex.EncodeToString(c.key.span[:])
	if !s.ParentSpanID().IsEmpty() {
		p := s.ParentSpanID()
		x.ParentID = hex.EncodeToString(p[:])
	}
	if d := s.EndTimestamp().AsTime().Sub(s.StartTimestamp().AsTime()); possible(s.StartTimestamp().AsTime()) && d >= 0 && d < 24*time.Hour {
		v := d.Seconds()
		x.Latency = &v
	}
	x.Inclusion = 1
	place(x, a, from.resource)
	provider(x, a, op, s.Name())
	settings := requested(x, a)
	usage(x, a, settings)
	people(x, a, from.resource)
	x.Stream, x.TTFT = streaming(s, a, settings)
	outcome(x, s, a)
	c.one = choices(x)
	r.hear(c, s, a)
	if x.Cost == nil && x.Usage != nil && r.o.Price != nil {
		model := x.Served
		if model == "" {
			model = x.Model
		}
		x.Cost = r.o.Price(model, *x.Usage)
	}
	return c
}

// place says which route and variant a call belongs to: what the client says with telltale.route and telltale.variant,
// else the service.
func place(x *record.Exchange, a, resource attrs) {
	x.Route, x.Variant, x.Propensity = "otlp", "baseline", 1
	for _, at := range []attrs{resource, a} {
		if v := at.str("service.name"); v != "" {
			x.Route = clip(v, maxName)
		}
	}
	for _, at := range []attrs{resource, a} {
		if v := at.str("telltale.route"); v != "" {
			x.Route = clip(v, maxName)
		}
		if v := at.str("telltale.variant"); v != "" {
			x.Variant = clip(v, maxName)
		}
		if p, ok := at.float("telltale.propensity"); ok && p > 0 && p <= 1 {
			x.Propensity = p
		}
	}
	x.Upstream = clip(a.str("server.address"), maxName)
	x.Endpoint = clip(a.str("url.path"), maxName)
}

// provider sets who answered, with what model, and the wire format as far as it can be told.
func provider(x *record.Exchange, a attrs, op operation, span string) {
	name := strings.ToLower(a.str(providerKey...))
	if name == "" && strings.HasPrefix(span, "OpenAI.") { // what Langfuse's client calls its spans
		name = strings.ToLower(span)
	}
	family, surface, _ := strings.Cut(name, ".")
	if family == "openai" || family == "anthropic" {
		name = family
	}
	x.Provider = clip(name, maxName)
	x.Model, x.Served = clip(a.str(askedModel...), maxName), clip(a.str(servedModel...), maxName)
	if x.Model == "" {
		x.Model = x.Served
	}
	x.Fingerprint = clip(a.str(fingerprintKey...), maxName)
	x.API = record.APIOther
	openai := strings.Contains(name, "openai")
	switch {
	case openai && op == embedding:
		x.API = record.APIEmbeddings
	case openai && op == completion:
		x.API = record.APICompletions
	case openai && (surface == "responses" || a.str("openai.api.type") == "responses"):
		x.API = record.APIResponses
	case openai && op == chat:
		x.API = record.APIChat
	case family == "anthropic" && op == chat:
		x.API = record.APIMessages
	}
}

// unsaid are members of a request's own JSON that are no parameters.
var unsaid = map[string]bool{
	"model": true, "messages": true, "input": true, "prompt": true, "system": true, "instructions": true, "seed": true, "user": true, "metadata": true,
	"stream": true, "stream_options": true, "store": true, "safety_identifier": true, "prompt_cache_key": true, "previous_response_id": true, "conversation": true, "contents": true,
}

// requested reads the parameters and the seed. It returns the request's own JSON where the dialect carries it.
func requested(x *record.Exchange, a attrs) map[string]any {
	p := map[string]any{}
	settings := object(a.any("llm.invocation_parameters", "langfuse.observation.model.parameters"))
	for k, v := range settings {
		if !unsaid[k] && v != nil && v != "" {
			p[k] = v
		}
	}
	if _, ok := a["openinference.span.kind"]; ok && x.Served == "" {
		// What OpenInference calls the model's name is the one that answered, where both are known.
		if asked := text(settings["model"]); asked != "" && asked != x.Model {
			x.Served, x.Model = x.Model, clip(asked, maxName)
		}
	}
	functions := "" // where they are listed one attribute each
	for name, v := range a {
		var key string
		switch {
		case strings.HasPrefix(name, "llm.request.functions."):
			functions = "llm.request.functions."
			continue
		case strings.HasPrefix(name, "llm.tools."):
			functions = "llm.tools."
			continue
		case strings.HasPrefix(name, "gen_ai.request."):
			key = name[len("gen_ai.request."):]
		case strings.HasPrefix(name, "gen_ai.openai.request."):
			key = name[len("gen_ai.openai.request."):]
		case strings.HasPrefix(name, "openai.request."):
			key = name[len("openai.request."):]
		case name == "gen_ai.output.type":
			key = "output_type"
		case name == "llm.frequency_penalty", name == "llm.presence_penalty", name == "llm.top_k":
			key = name[len("llm."):]
		case name == "llm.chat.stop_sequences":
			key = "stop_sequences"
		case name == "gen_ai.tool.definitions", name == "ai.prompt.tools":
			key = "tools"
		case name == "ai.prompt.toolChoice":
			key = "tool_choice"
		default:
			continue
		}
		switch key {
		case "model", "seed", "user", "stream", "is_stream":
			continue
		case "choice.count":
			key = "n"
		}
		if value := unpack(plain(v)); value != nil {
			p[key] = value
		}
	}
	if p["tools"] == nil && functions != "" {
		p["tools"] = a.tree(functions)
	}
	for k, v := range p {
		limitParam(x, p, k, v)
	}
	if len(p) > 0 {
		x.Params = p
	}
	if v, ok := a.float(seedKey...); ok {
		setSeed(x, v)
	} else if v, ok := number(settings["seed"]); ok {
		setSeed(x, v)
	}
	return settings
}

func setSeed(x *record.Exchange, v float64) {
	if v == float64(int64(v)) {
		seed := int64(v)
		x.Seed = &seed
	}
}

// maxParam bounds a parameter; one that is longer leaves its hash.
const maxParam = 16 << 10

func limitParam(x *record.Exchange, p map[string]any, key string, v any) {
	switch v := v.(type) {
	case float64, int64, bool:
		return
	case string:
		if len(v) <= maxParam {
			return
		}
	}
	b, err := json.Marshal(v)
	if err != nil {
		delete(p, key)
		return
	}
	if len(b) > maxParam {
		p[key] = map[string]any{"sha256": record.HashBytes(b), "bytes": len(b)}
		x.Cut = append(x.Cut, "params."+clip(key, maxName))
	}
}

// usage reads the tokens.
func usage(x *record.Exchange, a attrs, settings map[string]any) {
	u := record.Usage{
		Prompt: a.count(promptTokens...), Completion: a.count(completionTokens...), Total: a.count(totalTokens...),
		Cached: a.count(cachedTokens...), Reasoning: a.count(reasoningTokens...),
	}
	if d := object(a.any("langfuse.observation.usage_details")); d != nil && u.Prompt+u.Completion == 0 {
		u = langfuseUsage(d)
	}
	if u.Total == 0 {
		u.Total = u.Prompt + u.Completion
	}
	if u.Prompt+u.Completion+u.Total > 0 {
		x.Usage = &u
	}
	if d := object(a.any("langfuse.observation.cost_details")); d != nil {
		if v, ok := number(d["total"]); ok && v > 0 {
			x.Cost = &v
		}
	}
	if v, ok := a.float("gen_ai.usage.cost", "llm.cost.total"); ok && v > 0 {
		x.Cost = &v
	}
}

// langfuseUsage reads Langfuse's counts, in which input and output are what is left when their parts have been taken
// away: input = prompt − input_cached_tokens − …. Where total shows that they have not been, they are the whole.
func langfuseUsage(d map[string]any) record.Usage {
	n := func(names ...string) int {
		for _, name := range names {
			if v, ok := number(d[name]); ok {
				return count(v)
			}
		}
		return 0
	}
	u := record.Usage{
		Prompt: n("input", "prompt_tokens", "input_tokens"), Completion: n("output", "completion_tokens", "output_tokens"), Total: n("total", "total_tokens"),
		Cached: n("input_cached_tokens", "input_cached", "cache_read_input_tokens", "input_cache_read"), Reasoning: n("output_reasoning_tokens", "output_reasoning"),
	}
	in, out := 0, 0
	for name, v := range d {
		f, _ := number(v)
		switch {
		case name == "input_tokens" || name == "output_tokens":
		case strings.HasPrefix(name, "input_"), name == "cache_read_input_tokens", name == "cache_creation_input_tokens":
			in += count(f)
		case strings.HasPrefix(name, "output_"):
			out += count(f)
		}
	}
	if u.Total == 0 || u.Prompt+u.Completion < u.Total {
		u.Prompt += in
		u.Completion += out
	}
	return u
}

const maxTags = 32

// people sets user, session and tags.
func people(x *record.Exchange, a, resource attrs) {
	x.User, x.Session = clip(a.str(userKey...), maxName), clip(a.str(sessionKey...), maxName)
	tag := func(name, value string) {
		if name == "" || value == "" {
			return
		}
		if x.Tags == nil {
			x.Tags = map[string]string{}
		}
		if len(x.Tags) >= maxTags {
			if !slices.Contains(x.Cut, "tags") {
				x.Cut = append(x.Cut, "tags")
			}
			return
		}
		x.Tags[clip(name, maxName)] = clip(value, 2*maxName)
	}
	var names []string
	for name := range resource { // those of the span come after, and hold
		if strings.HasPrefix(name, tagPrefixes[0]) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		tag(strings.ToValidUTF8(strings.TrimPrefix(name, tagPrefixes[0]), "\ufffd"), resource.str(name))
	}
	names = names[:0]
	for name := range a {
		if slices.ContainsFunc(tagPrefixes[:], func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, prefix := range tagPrefixes {
			key, ok := strings.CutPrefix(name, prefix)
			if !ok || slices.Contains(userKey, name) || slices.Contains(sessionKey, name) {
				continue
			}
			tag(strings.ToValidUTF8(key, "\ufffd"), a.str(name))
		}
	}
	for _, v := range list(a.any("langfuse.trace.tags", "tag.tags")) {
		tag(text(v), "true")
	}
	if m := object(a.any("metadata")); m != nil { // OpenInference's
		for _, k := range slices.Sorted(maps.Keys(m)) {
			tag(k, jsonText(m[k]))
		}
	}
	for name, value := range map[string]string{"environment": resource.str("deployment.environment.name", "deployment.environment"), "version": resource.str("service.version")} {
		if x.Tags[name] == "" { // what was said for telltale holds
			tag(name, value)
		}
	}
}

// streaming says whether the answer was streamed, and how long its first token took, in seconds.
func streaming(s ptrace.Span, a attrs, settings map[string]any) (stream bool, ttft *float64) {
	v, ok := a.float("gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token", "gen_ai.response.time_to_first_token")
	if !ok {
		if v, ok = a.float("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"); ok {
			v /= 1000
		}
	}
	start := s.StartTimestamp().AsTime()
	if !ok {
		if at, err := time.Parse(time.RFC3339Nano, text(a.any("langfuse.observation.completion_start_time"))); err == nil {
			v, ok = at.Sub(start).Seconds(), true
		}
	}
	for i := 0; i < s.Events().Len() && !ok; i++ {
		switch s.Events().At(i).Name() {
		case "First Token Stream Event", "llm.content.completion.chunk", "gen_ai.content.completion.chunk":
			v, ok = s.Events().At(i).Timestamp().AsTime().Sub(start).Seconds(), true
		}
	}
	if ok && v >= 0 && v < 86400 {
		ttft = &v
	}
	asked, _ := settings["stream"].(bool)
	return ttft != nil || asked || a.str(streamKey...) == "true" || strings.HasSuffix(a.str("ai.operationId"), ".doStream"), ttft
}

// choices says whether several answers were asked for.
func choices(x *record.Exchange) bool {
	n, _ := number(x.Params["n"])
	return n > 1
}

// outcome sets how the call ended.
func outcome(x *record.Exchange, s ptrace.Span, a attrs) {
	if v := list(a.any("gen_ai.response.finish_reasons")); len(v) > 0 {
		x.FinishReason = clip(text(v[0]), maxName)
	}
	if x.FinishReason == "" {
		x.FinishReason = clip(a.str(finishKey...), maxName)
	}
	if x.FinishReason == "" {
		x.FinishReason = clip(a.str("gen_ai.response.finish_reasons"), maxName) // a text in the place of a list
	}
	x.Refused = record.FinishClass(x.FinishReason) == "refusal"
	if n, ok := a.float("http.response.status_code", "http.status_code"); ok && n >= 100 && n < 600 {
		x.Status = int(n)
	}
	kind := a.str("error.type")
	message := s.Status().Message()
	failed := kind != "" || s.Status().Code() == ptrace.StatusCodeError || a.str("langfuse.observation.level") == "ERROR"
	if message == "" {
		message = a.str("langfuse.observation.status_message", "error.message")
	}
	for i := range s.Events().Len() {
		e := s.Events().At(i)
		if e.Name() != "exception" || !failed {
			continue
		}
		if v, ok := e.Attributes().Get("exception.type"); ok && kind == "" {
			kind = v.AsString()
		}
		if v, ok := e.Attributes().Get("exception.message"); ok && message == "" {
			message = v.AsString()
		}
	}
	if !failed {
		if x.Status < 400 {
			return
		}
	}
	x.ErrorKind = failureKind(kind, message, x.Status)
	if message == "" {
		message = kind
	}
	x.Error = clip(strings.ToValidUTF8(message, "\ufffd"), 500)
}

// failureKind maps an error's type, the status or, where neither tells, its message to a reason. Types are those of
// the vendors' clients, of languages, and bare statuses.
func failureKind(kind, message string, status int) record.FailureKind {
	k := strings.ToLower(kind)
	has := func(s string, words ...string) bool {
		for _, w := range words {
			if strings.Contains(s, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has(k, "useraborterror", "aborterror", "cancel"):
		return record.Canceled
	case has(k, "timeout", "deadline"):
		return record.Timeout
	case has(k, "ratelimit", "rate_limit", "quota"):
		return record.RateLimited
	case has(k, "authentication", "permission", "invalid_api_key"):
		return record.Auth
	case has(k, "notfound", "not_found"):
		return record.NotFound
	case has(k, "badrequest", "invalid_request", "unprocessable"):
		return record.BadRequest
	case has(k, "internalserver", "server_error", "overloaded", "unavailable"):
		return record.Server
	case has(k, "connection", "econn", "enotfound", "socket", "network"):
		return record.Connection
	}
	if status == 0 {
		status = leadingStatus(k)
	}
	if status == 0 {
		status = leadingStatus(strings.TrimPrefix(strings.ToLower(message), "error: "))
	}
	switch {
	case status == 0:
		return record.Server
	case status == 401 || status == 403:
		return record.Auth
	case status == 404:
		return record.NotFound
	case status == 408 || status == 504:
		return record.Timeout
	case status == 429:
		return record.RateLimited
	case status == 499:
		return record.Canceled
	case status >= 500:
		return record.Server
	}
	return record.BadRequest
}

// leadingStatus reads a status of 400 to 599 at the start of a text, 0 when there is none.
func leadingStatus(s string) int {
	if len(s) < 3 || len(s) > 3 && s[3] >= '0' && s[3] <= '9' {
		return 0
	}
	n, ok := number(s[:3])
	if !ok || n < 400 || n > 599 {
		return 0
	}
	return int(n)
}

// hash of what was said, for finding equal inputs.
func inputHash(s *said) string {
	if s.system == "" && len(s.input) == 0 {
		return ""
	}
	h := sha256.New()
	h.Write([]byte(s.system))
	for i := range s.input {
		t := &s.input[i]
		h.Write([]byte{0})
		h.Write([]byte(t.role))
		h.Write([]byte{0})
		for _, p := range t.parts {
			h.Write([]byte(p.Text))
			h.Write([]byte(p.ImageURL))
			h.Write([]byte{1})
		}
		for _, c := range t.calls {
			h.Write([]byte(c.Name + "\x00" + c.Arguments + "\x01"))
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

func eventsOf(s ptrace.Span) []event {
	n := s.Events().Len()
	if n == 0 {
		return nil
	}
	out := make([]event, 0, n)
	for i := range n {
		e := s.Events().At(i)
		out = append(out, event{name: e.Name(), at: e.Timestamp().AsTime(), attrs: attrsOf(e.Attributes())})
	}
	return out
}

// has says whether a span has an attribute that belongs to a model call.
func hasMarks(m pcommon.Map) bool {
	for name := range m.All() {
		if marked(name) {
			return true
		}
	}
	return false
}
