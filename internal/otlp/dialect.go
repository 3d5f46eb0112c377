package otlp

import "strings"

// operation is what a span is about.
type operation int

const (
	foreign    operation = iota // nothing to do with models
	related                     // an agent, a tool, a chain: belongs to model calls and is none
	chat                        // a model call
	completion                  // a model call of the older kind, text to text
	embedding
)

// classify says what a span is about, by the marks of the dialects: from the most specific, for clients add each
// other's attributes.
func classify(a attrs) operation {
	switch strings.ToLower(a.str("langfuse.observation.type")) {
	case "generation":
		return chat
	case "embedding":
		return embedding
	case "":
	default:
		return related
	}
	switch strings.ToUpper(a.str("openinference.span.kind")) {
	case "LLM":
		return chat
	case "EMBEDDING":
		return embedding
	case "":
	default:
		return related
	}
	if op := a.str("ai.operationId"); op != "" {
		switch {
		case strings.HasSuffix(op, ".doGenerate"), strings.HasSuffix(op, ".doStream"):
			return chat
		case strings.HasSuffix(op, ".doEmbed"):
			return embedding
		}
		return related
	}
	switch a.str("gen_ai.operation.name") {
	case "chat", "generate_content":
		return chat
	case "text_completion", "completion":
		return completion
	case "embeddings", "embedding":
		return embedding
	case "":
	default:
		return related
	}
	switch a.str("llm.request.type") {
	case "chat":
		return chat
	case "completion":
		return completion
	case "embedding":
		return embedding
	case "":
	default:
		return related
	}
	if a.str("traceloop.span.kind") != "" {
		return related
	}
	if a.str("gen_ai.system", "gen_ai.provider.name") != "" && a.str("gen_ai.request.model", "gen_ai.response.model") != "" {
		return chat
	}
	for name := range a {
		for _, prefix := range marks {
			if strings.HasPrefix(name, prefix) {
				return related
			}
		}
	}
	return foreign
}

var marks = [...]string{"gen_ai.", "llm.", "langfuse.observation.", "ai.telemetry."}

// marked says whether any attribute may belong to a model call, before the attributes are gathered.
func marked(name string) bool {
	switch {
	case strings.HasPrefix(name, "gen_ai."), strings.HasPrefix(name, "llm."), strings.HasPrefix(name, "ai."),
		strings.HasPrefix(name, "langfuse."), strings.HasPrefix(name, "openinference."), strings.HasPrefix(name, "traceloop."):
		return true
	}
	return false
}

// The attributes that mean the same in the dialects, the most reliable first.
var (
	askedModel     = []string{"gen_ai.request.model", "langfuse.observation.model.name", "ai.model.id", "llm.request.model", "llm.model_name", "embedding.model_name"}
	servedModel    = []string{"gen_ai.response.model", "ai.response.model", "llm.response.model"}
	fingerprintKey = []string{"openai.response.system_fingerprint", "gen_ai.openai.response.system_fingerprint", "gen_ai.response.system_fingerprint"}
	providerKey    = []string{"gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "ai.model.provider"}
	seedKey        = []string{"gen_ai.request.seed", "gen_ai.openai.request.seed", "ai.settings.seed"}
	streamKey      = []string{"gen_ai.request.stream", "llm.is_streaming", "gen_ai.is_streaming"}
	finishKey      = []string{"ai.response.finishReason", "llm.finish_reason", "gen_ai.response.finish_reason"}

	promptTokens = []string{
		"gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt", "llm.usage.prompt_tokens", "ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens",
	}
	completionTokens = []string{
		"gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.token_count.completion", "llm.usage.completion_tokens", "ai.usage.outputTokens", "ai.usage.completionTokens",
	}
	totalTokens  = []string{"gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens"}
	cachedTokens = []string{
		"gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.input_tokens.cached", "llm.token_count.prompt_details.cache_read",
		"ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens", "llm.usage.cache_read_input_tokens",
	}
	reasoningTokens = []string{
		"gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning", "llm.usage.reasoning_tokens",
		"llm.token_count.completion_details.reasoning", "ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens",
	}

	userKey = []string{
		"telltale.user", "user.id", "langfuse.user.id", "enduser.id", "gen_ai.user.id", "traceloop.association.properties.user_id", "ai.telemetry.metadata.userId", "gen_ai.request.user", "llm.user",
	}
	sessionKey = []string{
		"telltale.session", "session.id", "langfuse.session.id", "gen_ai.conversation.id", "traceloop.association.properties.session_id", "ai.telemetry.metadata.sessionId",
	}
)

// tagPrefixes are those of attributes that are a user's own.
var tagPrefixes = [...]string{"telltale.tag.", "traceloop.association.properties.", "ai.telemetry.metadata.", "langfuse.trace.metadata.", "langfuse.observation.metadata."}
