package openai

import (
	"net/url"
	"strings"
)

// flavour is a service or server that speaks the chat completions API: where it is, which
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

// otherKinds are what can follow the first part of an id in promptfoo and is not chat.
var otherKinds = map[string]bool{
	"responses": true, "completion": true, "embedding": true, "embeddings": true, "moderation": true, "realtime": true,
	"image": true, "video": true, "speech": true, "transcription": true, "assistant": true, "agents": true, "chatkit": true,
	"codex": true, "codex-sdk": true, "codex-app-server": true, "codex-desktop": true, "foundry-agent": true,
}

// Recognises says whether an id belongs to this package: openai:…, azure:…, azureopenai:…,
// openrouter:…, ollama:…, localai:…, llamacpp:… or vllm:….
func Recognises(id string) bool {
	kind, _, ok := strings.Cut(id, ":")
	_, known := flavours[kind]
	return ok && known
}

// parseID splits an id into its flavour and model. problem says why it cannot be used.
func parseID(id string) (f flavour, model, problem string) {
	kind, rest, _ := strings.Cut(id, ":")
	f, ok := flavours[kind]
	if !ok {
		return f, "", "unknown provider"
	}
	sub, model, more := strings.Cut(rest, ":")
	switch {
	case otherKinds[sub]:
		return f, "", kind + ":" + sub + " is not supported yet, only chat completions"
	case sub == "chat" && more:
	case sub == "chat" && !more:
		model = ""
	default:
		model = rest // openai:gpt-4.1, ollama:llama3:8b, openrouter:vendor/model:free
	}
	return f, model, ""
}

// modelInPath says whether the model is part of the path: Azure's deployments, unless the address
// is that of its newer API, which is the same as OpenAI's.
func (f flavour) modelInPath(base *url.URL) bool {
	return f.deployments && !strings.HasSuffix(base.Path, "/v1")
}

// endpoint returns the address requests are sent to.
func endpoint(f flavour, base *url.URL, model, version string) *url.URL {
	u := *base
	u.RawPath = ""
	if !f.modelInPath(base) {
		u.Path += "/chat/completions"
		return &u
	}
	if !strings.HasSuffix(u.Path, "/openai") {
		u.Path += "/openai"
	}
	u.RawPath = u.EscapedPath() + "/deployments/" + url.PathEscape(model) + "/chat/completions"
	u.Path += "/deployments/" + model + "/chat/completions"
	q := u.Query()
	if q.Get("api-version") == "" {
		q.Set("api-version", version)
	}
	u.RawQuery = q.Encode()
	return &u
}
