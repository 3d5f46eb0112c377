package wiretap

import (
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
)

// statusKind maps an HTTP status to a reason, as the evaluator's providers do.
func statusKind(status int) record.FailureKind {
	switch {
	case status == 401 || status == 403:
		return record.Auth
	case status == 404:
		return record.NotFound
	case status == 408 || status == 504:
		return record.Timeout
	case status == 429:
		return record.RateLimited
	case status == 499: // what proxies write for a client that went away
		return record.Canceled
	case status >= 500:
		return record.Server
	}
	return record.BadRequest
}

// typeKind maps the type or code of an error in a body or a stream to a reason.
func typeKind(name string) record.FailureKind {
	switch {
	case strings.Contains(name, "rate_limit"), name == "insufficient_quota", name == "tokens", name == "requests", name == "429":
		return record.RateLimited
	case strings.Contains(name, "authentication"), strings.Contains(name, "permission"), name == "invalid_api_key", name == "401", name == "403":
		return record.Auth
	case strings.Contains(name, "not_found"), name == "404":
		return record.NotFound
	case strings.Contains(name, "timeout"):
		return record.Timeout
	case name == "invalid_request_error", strings.HasPrefix(name, "invalid_"), name == "context_length_exceeded", name == "request_too_large", name == "400", name == "413":
		return record.BadRequest
	}
	return record.Server
}

// failure reads an error: OpenAI's object, Anthropic's, or a bare text.
func (r *reading) failure(c *cursor) {
	switch c.space() {
	case '"':
		r.fail(typeKind(""), c.str())
		return
	case '{':
	default: // null: no error
		c.skip()
		return
	}
	var kind, code, message string
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "type":
			kind = c.str()
		case "code":
			if c.space() == '"' {
				code = c.str()
			} else {
				code = string(c.raw())
			}
		case "message":
			message = c.str()
		case "error": // one level deeper at some proxies
			r.failure(c)
		default:
			c.skip()
		}
	}
	if r.errKind != "" && kind == "" && message == "" {
		return
	}
	reason := typeKind(kind)
	if byCode := typeKind(code); reason == record.Server && code != "" {
		reason = byCode
	}
	if message == "" {
		message = kind + code
	}
	r.fail(reason, message)
}

// fail notes the first error.
func (r *reading) fail(kind record.FailureKind, message string) {
	if r.errKind != "" {
		return
	}
	r.errKind, r.errText = kind, clip(message, maxError)
}

// errorBody reads the body of an answer that is none. What is not JSON is shown as it is.
func (r *reading) errorBody(body []byte) {
	c := cursor{b: body}
	if c.space() != '{' {
		r.errText = clip(strings.ToValidUTF8(strings.TrimSpace(string(body[:min(len(body), 2*maxError)])), "\ufffd"), maxError)
		return
	}
	var flat string
	for c.open('{'); c.more('}'); {
		switch string(c.key()) {
		case "error":
			r.failure(&c)
		case "message", "detail", "error_description":
			if s := c.str(); flat == "" {
				flat = s
			}
		default:
			c.skip()
		}
	}
	if r.errText == "" {
		r.errText = clip(flat, maxError)
	}
}
