package gateway

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/access"
)

// hop says whether a header belongs to one connection alone.
func hop(k string) bool {
	switch k {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// named collects the headers that Connection names: they belong to the connection too.
func named(connection []string) []string {
	var out []string
	for _, v := range connection {
		for name := range strings.SplitSeq(v, ",") {
			switch name = strings.TrimSpace(name); {
			case name == "", strings.EqualFold(name, "close"), strings.EqualFold(name, "keep-alive"):
			default:
				out = append(out, http.CanonicalHeaderKey(name))
			}
		}
	}
	return out
}

// listedIn looks for the Connection header in an answer that is about to be read: http.ReadResponse drops it where it
// says close, with everything else that it names. A head that does not arrive in one piece is looked at as far as it
// has come.
func listedIn(br *bufio.Reader) []string {
	if _, err := br.Peek(1); err != nil {
		return nil
	}
	head, _ := br.Peek(br.Buffered())
	const name = "connection:"
	var out []string
	for {
		i := bytes.IndexByte(head, '\n')
		if i <= 1 { // the blank line, or the end of what is there
			return out
		}
		if i > len(name) && (head[0] == 'c' || head[0] == 'C') && bytes.EqualFold(head[:len(name)], []byte(name)) {
			out = append(out, named([]string{string(head[len(name):i])})...)
		}
		head = head[i+1:]
	}
}

// appendHead writes a request's head for an upstream: the client's headers but those of its own connection, its
// credentials and what it tells telltale; then what the upstream needs.
func (c *call) appendHead(b []byte, m *member, body []byte) []byte {
	r, route := c.r, c.route
	b = append(append(b, r.Method...), ' ')
	b = append(append(b, m.base...), c.rest...)
	if len(b) > 0 && m.base == "" && c.rest == "" {
		b = append(b, '/')
	}
	if c.query != "" {
		b = append(append(b, '?'), c.query...)
	}
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(append(b, m.host...), "\r\n"...)
	listed := named(r.Header["Connection"])
	identity := c.holding() || c.guards()
	for k, vv := range r.Header {
		switch {
		case hop(k), k == "Content-Length", k == "Expect", k == "Host":
			continue
		case k == "Authorization", k == "X-Api-Key", k == "Api-Key":
			if !route.passKey {
				continue
			}
		case k == "Accept-Encoding" && identity:
			continue // events are looked at, so they must not be compressed
		case strings.HasPrefix(k, "Telltale-"):
			continue
		}
		if len(listed) > 0 && slices.Contains(listed, k) || replaced(m, route, k) || slices.Contains(route.request.remove, k) {
			continue
		}
		for _, v := range vv {
			if route.passKey && ownKey(v) {
				continue
			}
			b = appendHeader(b, k, v)
		}
	}
	for k, vv := range m.headers {
		if route.request.set[k] == nil {
			b = appendHeader(b, k, vv[0])
		}
	}
	for k, vv := range route.request.set {
		b = appendHeader(b, k, vv[0])
	}
	b = c.appendKey(b, m)
	if len(body) > 0 || r.ContentLength == 0 && r.Body != nil && r.Method != http.MethodGet && r.Method != http.MethodHead || r.Method == http.MethodPost {
		b = append(b, "Content-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// replaced says whether the configuration gives the header.
func replaced(m *member, r *route, k string) bool {
	return len(m.headers) > 0 && m.headers[k] != nil || len(r.request.set) > 0 && r.request.set[k] != nil
}

// ownKey says whether a header's value is a key of telltale's own, which no provider is to see.
func ownKey(v string) bool {
	v = strings.TrimSpace(v)
	if len(v) > 7 && strings.EqualFold(v[:7], "bearer ") {
		v = strings.TrimSpace(v[7:])
	}
	return strings.HasPrefix(v, access.Prefix) || access.BasicKey(v) != ""
}

// appendKey puts the upstream's key where its API wants it.
func (c *call) appendKey(b []byte, m *member) []byte {
	if m.key == "" || c.route.passKey || m.headers["Authorization"] != nil || m.headers["X-Api-Key"] != nil || m.headers["Api-Key"] != nil {
		return b
	}
	if m.format == "anthropic" || m.format == "" && c.api == anthropic {
		return appendHeader(b, "X-Api-Key", m.key)
	}
	b = append(b, "Authorization: Bearer "...)
	return append(append(b, m.key...), "\r\n"...)
}

func appendHeader(b []byte, k, v string) []byte {
	b = append(append(b, k...), ": "...)
	return append(append(b, v...), "\r\n"...)
}

// copyHeaders gives the client the upstream's headers but those of its connection. Values are shared, not copied.
func (c *call) copyHeaders(from http.Header) {
	to := c.w.Header()
	listed := c.listed
	for k, v := range from {
		if hop(k) || len(listed) > 0 && slices.Contains(listed, k) {
			continue
		}
		to[k] = v
	}
	to["Telltale-Id"] = []string{c.id} // what is said of the answer later names it
	for _, k := range c.route.answer.remove {
		delete(to, k)
	}
	for k, v := range c.route.answer.set {
		to[k] = v
	}
	if to["Content-Type"] == nil {
		to["Content-Type"] = nil // net/http would guess one
	}
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return strconv.FormatInt(n>>20, 10) + " MiB"
	case n >= 1<<10 && n%(1<<10) == 0:
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n, 10) + " bytes"
}
