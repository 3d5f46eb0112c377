package redact

import (
	"strings"
	"testing"
)

func TestString(t *testing.T) {
	r := New("hunter2secret", "a\"b/c d", "", "abc")
	f := func(in, want string) {
		t.Helper()
		if got := r.String(in); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
	f("", "")
	f("nothing to hide", "nothing to hide")
	f("the key hunter2secret is wrong", "the key [redacted] is wrong")
	f(`{"key":"a\"b/c d"}`, `{"key":"[redacted]"}`)
	f("?key=a%22b%2Fc+d", "?key=[redacted]")
	f("abc stays: too short to be a secret", "abc stays: too short to be a secret")
	f("Authorization: Bearer abc.def-123456", "Authorization: Bearer [redacted]")
	f("bearer of news", "bearer of news")
	f("Incorrect API key provided: sk-proj-abc***xyz1.", "Incorrect API key provided: [redacted]")
	f(`x-api-key: 0123456789abcdef`, `x-api-key: [redacted]`)
	f(`"api_key": "0123456789abcdef"`, `"api_key": "[redacted]"`)
	f("http://user:pass1@host/path", "http://user:[redacted]@host/path")
	f("task-force-alpha is a word", "task-force-alpha is a word")
	f("gsk_0123456789abcdef", "[redacted]")
	f("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.sig", "[redacted]")
}

func TestNilAndZero(t *testing.T) {
	var r *Redactor
	if got := r.String("Bearer 123456789"); got != "Bearer [redacted]" {
		t.Errorf("nil redactor left %q", got)
	}
	if got := New().String("sk-123456789"); got != Mark {
		t.Errorf("redactor without secrets left %q", got)
	}
}

func FuzzString(f *testing.F) {
	f.Add("a", "secretvalue")
	f.Add("Bearer ", "x y z 1234")
	f.Fuzz(func(t *testing.T, around, secret string) {
		if len(secret) < shortest || strings.Contains(Mark, secret) || strings.Contains(around, secret) {
			t.Skip("the secret is part of the text around it or of the mark")
		}
		// The secret may also arise anew where the mark meets the text around it; that is not a leak.
		out := New(secret).String(around + "\n" + secret + "\n" + around)
		if !strings.Contains(out, Mark) {
			t.Errorf("no mark in %q", out)
		}
	})
}
