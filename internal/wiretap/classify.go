package wiretap

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// Classify returns the wire format of a request: a value of record.Exchange.API, record.APIOther for what is not read.
// What stands before /v1 in the path, such as a route's prefix, does not matter.
func Classify(method, path string) string {
	path, _, _ = strings.Cut(path, "?")
	path = strings.TrimSuffix(path, "/")
	if method == "GET" {
		if strings.HasSuffix(path, "/models") || strings.Contains(path, "/v1/models/") {
			return record.APIModels
		}
		return record.APIOther
	}
	if method != "POST" && method != "" {
		return record.APIOther
	}
	for _, e := range endpoints {
		if strings.HasSuffix(path, e.suffix) {
			return e.api
		}
	}
	return record.APIOther
}

// endpoints are looked up in order: the longer of two suffixes comes first. Other services have paths that end in
// /messages, so these need the version.
var endpoints = [...]struct{ suffix, api string }{
	{"/chat/completions", record.APIChat},
	{"/responses", record.APIResponses},
	{"/completions", record.APICompletions},
	{"/embeddings", record.APIEmbeddings},
	{"/moderations", record.APIModerations},
	{"/v1/messages/count_tokens", record.APICountTokens},
	{"/v1/messages", record.APIMessages},
}
