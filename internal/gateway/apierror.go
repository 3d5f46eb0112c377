package gateway

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// api is the wire format in which a request is refused.
type api uint8

const (
	anyAPI api = iota
	openAI
	anthropic
)

// Reason says why a request was refused before an upstream was asked. It is used as a label.
type Reason string

// The reasons.
const (
	BadHost     Reason = "bad_host"     // a name that is not this machine's, or a page of another site
	BadPath     Reason = "bad_path"     // outside /v1, or with dot segments
	NoRoute     Reason = "no_route"     // no route takes the path and model
	NoKey       Reason = "no_key"       // a key is needed
	BadKey      Reason = "bad_key"      // unknown, revoked or expired
	Forbidden   Reason = "forbidden"    // the key may not use the route
	RateLimited Reason = "rate_limited" // of the client's key
	OverBudget  Reason = "over_budget"  // of the client's key
	TooLarge    Reason = "too_large"
	BadBody     Reason = "bad_body"  // malformed, as far as the gateway must understand it
	SlowBody    Reason = "slow_body" // the client did not send it in time
	GoneBody    Reason = "gone_body" // the client went away while sending it
	BusyBodies  Reason = "busy"      // too many bytes of requests in memory
)

// Reasons lists all reasons.
func Reasons() []Reason {
	return []Reason{BadHost, BadPath, NoRoute, NoKey, BadKey, Forbidden, RateLimited, OverBudget, TooLarge, BadBody, SlowBody, GoneBody, BusyBodies}
}

// refusal is an error of the gateway's own. Its message never holds a key or an address.
type refusal struct {
	status  int
	reason  Reason // empty for an upstream's failure
	code    string // OpenAI's code
	message string
	wait    time.Duration // retry-after
}

// kinds are the APIs' own names for what a status means.
func (e *refusal) kinds() (open, anth string) {
	switch e.status {
	case http.StatusUnauthorized:
		return "invalid_request_error", "authentication_error"
	case http.StatusForbidden:
		return "invalid_request_error", "permission_error"
	case http.StatusNotFound:
		return "invalid_request_error", "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "invalid_request_error", "request_too_large"
	case http.StatusTooManyRequests:
		return "requests", "rate_limit_error"
	case http.StatusServiceUnavailable:
		return "server_error", "overloaded_error"
	case http.StatusGatewayTimeout:
		return "server_error", "timeout_error"
	}
	if e.status >= http.StatusInternalServerError {
		return "server_error", "api_error"
	}
	return "invalid_request_error", "invalid_request_error"
}

// writeRefusal answers in the API's own shape.
func writeRefusal(w http.ResponseWriter, a api, id string, e *refusal) {
	h := w.Header()
	openType, anthType := e.kinds()
	var body []byte
	if a == anthropic {
		h["Request-Id"] = []string{id}
		body = append(body, `{"type":"error","error":{"type":`...)
		body = append(appendText(body, anthType), `,"message":`...)
		body = append(appendText(body, e.message), `},"request_id":`...)
		body = append(appendText(body, id), "}\n"...)
	} else {
		h["X-Request-Id"] = []string{id}
		body = append(body, `{"error":{"message":`...)
		body = append(appendText(body, e.message), `,"type":`...)
		body = append(appendText(body, openType), `,"param":null,"code":`...)
		if e.code == "" {
			body = append(body, "null}}\n"...)
		} else {
			body = append(appendText(body, e.code), "}}\n"...)
		}
	}
	if e.wait > 0 {
		h["Retry-After"] = []string{strconv.FormatInt(int64((e.wait+time.Second-1)/time.Second), 10)}
		h["Retry-After-Ms"] = []string{strconv.FormatInt(max(1, e.wait.Milliseconds()), 10)}
	}
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(e.status)
	_, _ = w.Write(body)
}

func appendText(b []byte, s string) []byte {
	q, _ := json.Marshal(s)
	return append(b, q...)
}
