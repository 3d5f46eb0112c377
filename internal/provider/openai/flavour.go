package openai

import (
	"net/url"
	"strings"
)

// flavour is a service or server that speaks OpenAI's API: where it is, which
// variables hold its address and its key, and where it differs.
type flavour struct {
	name string
	// base is the address when nothing else is said; empty when there is no such default.
	base string
	// baseVars and hostVars are environment variables for the address, the first that is set
	// wins; a host stands for https://HOST/v1.
	baseVars, hostVars []string
	keyVars            []string
	// keyRequired holds for the default address only: another server may need none.
	keyRequired bool
	// priced says that the vendor's price list applies at the default address.
	priced bool
	// deployments says that the model is part of the path and the key has a header of its own.
	deployments bool
	// costReported says that the usage in an answer holds the price in US dollars.
	costReported bool
}

// flavours by the first part of a provider's id. Where promptfoo has the spelling, it is the same.
var flavours = map[string]flavour{
	"openai": {
		name: "OpenAI", base: "https://api.openai.com/v1", baseVars: []string{"OPENAI_API_BASE_URL", "OPENAI_BASE_URL"},
		hostVars: []string{"OPENAI_API_HOST"}, keyVars: []string{"OPENAI_API_KEY"}, keyRequired: true, priced: true,
	},
	"azure":       azure,
	"azureopenai": azure,
	"openrouter": {
		name: "OpenRouter", base: "https://openrouter.ai/api/v1", keyVars: []string{"OPENROUTER_API_KEY"},
		keyRequired: true, costReported: true,
	},
	"ollama":   {name: "Ollama", base: "http://localhost:11434/v1", baseVars: []string{"OLLAMA_BASE_URL"}, keyVars: []string{"OLLAMA_API_KEY"}},
	"localai":  {name: "LocalAI", base: "http://localhost:8080/v1", baseVars: []string{"LOCALAI_BASE_URL"}, keyVars: []string{"LOCALAI_API_KEY"}},
	"llamacpp": {name: "llama.cpp", base: "http://localhost:8080/v1", baseVars: []string{"LLAMA_BASE_URL"}, keyVars: []string{"LLAMA_API_KEY"}},
	"vllm":     {name: "vLLM", base: "http://localhost:8000/v1", baseVars: []string{"VLLM_BASE_URL"}, keyVars: []string{"VLLM_API_KEY"}},
}

var azure = flavour{
	name:     "Azure OpenAI",
	baseVars: []string{"AZURE_API_BASE_URL", "AZURE_OPENAI_API_BASE_URL", "AZURE_OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT"},
	hostVars: []string{"AZURE_API_HOST", "AZURE_OPENAI_API_HOST"}, keyVars: []string{"AZURE_API_KEY", "AZURE_OPENAI_API_KEY"},
	keyRequired: true, priced: true, deployments: true,
}

// azureVersion is the API version asked for when the suite names none: the last that is generally available.
const azureVersion = "2024-10-21"

// endpoint is one of the ways to ask a server.
type endpoint struct {
	name string
	// path is its end of the address.
	path string
}

// The names of the endpoints, as promptfoo spells them in ids.
const (
	chatEndpoint       = "chat"
	responsesEndpoint  = "responses"
	completionEndpoint = "completion"
	embeddingEndpoint  = "embedding"
	moderationEndpoint = "moderation"
)

// endpoints by what stands for them in an id.
var endpoints = map[string]endpoint{
	"chat":       {chatEndpoint, "/chat/completions"},
	"responses":  {responsesEndpoint, "/responses"},
	"completion": {completionEndpoint, "/completions"}, "completions": {completionEndpoint, "/completions"},
	"embedding": {embeddingEndpoint, "/embeddings"}, "embeddings": {embeddingEndpoint, "/embeddings"},
	"moderation": {moderationEndpoint, "/moderations"}, "moderations": {moderationEndpoint, "/moderations"},
}

// otherKinds are what else can follow the first part of an id in promptfoo.
var otherKinds = map[string]bool{
	"realtime": true, "image": true, "video": true, "speech": true, "transcription": true, "assistant": true, "agents": true,
	"chatkit": true, "codex": true, "codex-sdk": true, "codex-app-server": true, "codex-desktop": true, "foundry-agent": true,
}

// Recognises says whether an id belongs to this package: openai:…, azure:…, azureopenai:…,
// openrouter:…, ollama:…, localai:…, llamacpp:… or vllm:….
func Recognises(id string) bool {
	kind, _, ok := strings.Cut(id, ":")
	_, known := flavours[kind]
	return ok && known
}

// Embeds says whether an id names a model that turns texts into vectors.
func Embeds(id string) bool { return endpointOf(id) == embeddingEndpoint }

// Moderates says whether an id names a moderation model.
func Moderates(id string) bool { return endpointOf(id) == moderationEndpoint }

func endpointOf(id string) string {
	_, at, _, problem := parseID(id)
	if problem != "" {
		return ""
	}
	return at.name
}

// parseID splits an id into its flavour, endpoint and model. problem says why it cannot be used.
func parseID(id string) (f flavour, at endpoint, model, problem string) {
	kind, rest, _ := strings.Cut(id, ":")
	f, ok := flavours[kind]
	if !ok {
		return f, at, "", "unknown provider"
	}
	sub, model, more := strings.Cut(rest, ":")
	at, named := endpoints[sub]
	switch {
	case otherKinds[sub]:
		return f, at, "", kind + ":" + sub + " is not supported"
	case named && more:
	case named:
		model = ""
	default:
		at, model = endpoints["chat"], rest // openai:gpt-4.1, ollama:llama3:8b, openrouter:vendor/model:free
	}
	return f, at, model, ""
}

// modelInPath says whether the model is part of the path: Azure's deployments, unless the address
// is that of its newer API, which is the same as OpenAI's.
func (f flavour) modelInPath(base *url.URL) bool {
	return f.deployments && !strings.HasSuffix(base.Path, "/v1")
}

// endpoint returns the address requests are sent to; path is that of the endpoint.
func (f flavour) endpoint(base *url.URL, path, model, version string) *url.URL {
	u := *base
	u.RawPath = ""
	if !f.modelInPath(base) {
		u.Path += path
		return &u
	}
	if !strings.HasSuffix(u.Path, "/openai") {
		u.Path += "/openai"
	}
	u.RawPath = u.EscapedPath() + "/deployments/" + url.PathEscape(model) + path
	u.Path += "/deployments/" + model + path
	q := u.Query()
	if q.Get("api-version") == "" {
		q.Set("api-version", version)
	}
	u.RawQuery = q.Encode()
	return &u
}
