package sim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"time"
)

// dialect is whose error bodies and headers an endpoint uses.
type dialect uint8

const (
	openAI dialect = iota
	anthropic
)

// apiError is an HTTP error before it is written in an API's own shape.
type apiError struct {
	status     int
	code       string // OpenAI's code; empty writes null
	param      string
	message    string
	retryAfter time.Duration
	retry      *bool
}

func badRequest(param, format string, args ...any) *apiError {
	return &apiError{status: http.StatusBadRequest, param: param, message: fmt.Sprintf(format, args...)}
}

// apiError returns the error that a fault of kind status, or an error event, is sent as.
func (f *Fault) apiError() *apiError {
	e := &apiError{status: f.Status, message: f.message(), retryAfter: f.RetryAfter, retry: f.Retry}
	switch {
	case f.Kind != Status:
		e.status = http.StatusInternalServerError
	case f.Status == http.StatusNotFound:
		e.code, e.param = "model_not_found", "model"
	case f.Status == http.StatusTooManyRequests:
		e.code = "rate_limit_exceeded"
	}
	return e
}

// kind is the error type in each API's own words.
func (e *apiError) kind(d dialect) string {
	if d == openAI {
		switch {
		case e.status == 429:
			return "requests"
		case e.status >= 500:
			return "server_error"
		}
		return "invalid_request_error"
	}
	switch e.status {
	case 401:
		return "authentication_error"
	case 403:
		return "permission_error"
	case 404:
		return "not_found_error"
	case 413:
		return "request_too_large"
	case 429:
		return "rate_limit_error"
	case 504:
		return "timeout_error"
	case 503, 529:
		return "overloaded_error"
	}
	if e.status >= 500 {
		return "api_error"
	}
	return "invalid_request_error"
}

// body appends the error in the shape of d.
func (e *apiError) body(b []byte, d dialect, requestID string) []byte {
	if d == anthropic {
		b = append(b, `{"type":"error","error":{"type":`...)
		b = appendString(b, e.kind(d))
		b = append(b, `,"message":`...)
		message := e.message
		if e.param != "" {
			message = e.param + ": " + message
		}
		b = appendString(b, message)
		b = append(b, `},"request_id":`...)
		b = appendString(b, requestID)
		return append(b, '}')
	}
	b = append(b, `{"error":`...)
	b = e.object(b)
	return append(b, '}')
}

// object appends OpenAI's error object.
func (e *apiError) object(b []byte) []byte {
	b = append(b, `{"message":`...)
	b = appendString(b, e.message)
	b = append(b, `,"type":`...)
	b = appendString(b, e.kind(openAI))
	b = append(b, `,"param":`...)
	b = appendOrNull(b, e.param)
	b = append(b, `,"code":`...)
	b = appendOrNull(b, e.code)
	return append(b, '}')
}

// headers sets what tells a client whether and when to try again.
func (e *apiError) headers(h http.Header) {
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retryAfter.Seconds()))))
		h.Set("Retry-After-Ms", strconv.FormatInt(e.retryAfter.Milliseconds(), 10))
	}
	if e.retry != nil {
		h.Set("X-Should-Retry", strconv.FormatBool(*e.retry))
	}
}

func appendOrNull(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}
