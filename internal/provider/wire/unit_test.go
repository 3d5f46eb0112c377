package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f := func(want time.Duration, pairs ...string) {
		t.Helper()
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Set(pairs[i], pairs[i+1])
		}
		if got := retryAfter(h, now); got != want {
			t.Errorf("%v: %v, want %v", pairs, got, want)
		}
	}
	f(0)
	f(3*time.Second, "Retry-After", "3")
	f(1500*time.Millisecond, "Retry-After", " 1.5 ")
	f(250*time.Millisecond, "Retry-After-Ms", "250", "Retry-After", "3")
	f(10*time.Second, "Retry-After", "Fri, 02 Jan 2026 03:04:15 GMT")
	f(0, "Retry-After", "Fri, 02 Jan 2026 03:04:00 GMT")
	f(0, "Retry-After", "-3")
	f(0, "Retry-After", "soon")
	f(0, "Retry-After", "NaN")
	f(longestWait, "Retry-After", "1e300")
	f(longestWait, "Retry-After", "Inf")
	f(longestWait, "Retry-After", "Sat, 02 Jan 2126 03:04:15 GMT")
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00é\xff\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		b := AppendString(nil, s)
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q is not JSON: %v", b, err)
		}
		if want := strings.ToValidUTF8(s, "\x00"); utf8.ValidString(s) && got != want {
			t.Errorf("%q came back as %q", s, got)
		}
		if !utf8.Valid(b) {
			t.Errorf("%q is not UTF-8", b)
		}
	})
}

// FuzzEvents: a stream has the same events however it is cut into reads.
func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: a\n\n:c\r\ndata: b\r\ndata\r\revent: x\n\ndata: [DONE]"), 3)
	f.Add([]byte("\xef\xbb\xbfdata: a\r\n\r\n"), 1)
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		read := func(r io.Reader) (out []string) {
			ev := events{in: bufio.NewReaderSize(r, 16), limit: 1 << 20}
			for {
				name, data, err := ev.next()
				if err != nil {
					return out
				}
				out = append(out, name+"|"+string(data))
			}
		}
		whole := read(bytes.NewReader(stream))
		parts := read(&chunked{stream, max(size&15, 1)})
		if !reflect.DeepEqual(whole, parts) {
			t.Errorf("whole %q, in parts %q", whole, parts)
		}
		for _, e := range whole {
			if strings.Contains(e, "\r") {
				t.Errorf("a line end is left in %q", e)
			}
		}
	})
}

// chunked reads n bytes at a time.
type chunked struct {
	data []byte
	n    int
}

func (c *chunked) Read(b []byte) (int, error) {
	if len(c.data) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), c.n)], c.data)
	c.data = c.data[n:]
	return n, nil
}
