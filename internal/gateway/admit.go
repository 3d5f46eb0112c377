package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/loopback"
)

// admit does everything that comes before an upstream is asked.
func (c *call) admit() *refusal {
	raw, query := rawPath(c.r)
	c.query = query
	c.api, _ = guess(raw, c.r.Header)
	if e := c.local(); e != nil {
		return e
	}
	if e := c.requestLine(raw); e != nil {
		return e
	}
	if dotted(raw) {
		return &refusal{status: http.StatusBadRequest, reason: BadPath, message: "The path has dot segments."}
	}
	limit := c.candidates(raw)
	if limit == 0 {
		return &refusal{status: http.StatusNotFound, reason: BadPath, code: "unknown_url", message: fmt.Sprintf("Unknown request URL: %s %s. No route of this gateway has this path; want …/v1/….", c.r.Method, clip(c.r.URL.Path, 200))}
	}
	if e := c.authenticate(); e != nil {
		return e
	}
	if e := c.read(limit); e != nil {
		return e
	}
	if e := c.choose(raw); e != nil {
		return e
	}
	if int64(len(c.body)) > c.route.maxBody {
		return tooLarge(c.route.maxBody)
	}
	return c.permit()
}

// requestLine refuses what would not be one request line for the upstream. HTTP/2 has path and method in fields of their own,
// and net/http looks at them less than at a line of HTTP/1.1: a blank in one would move what the upstream takes for the path.
func (c *call) requestLine(raw string) *refusal {
	if whole(raw) && whole(c.query) && (c.r.ProtoMajor == 1 || httpguts.ValidHeaderFieldName(c.r.Method)) {
		return nil
	}
	return &refusal{status: http.StatusBadRequest, reason: BadPath, code: "invalid_url", message: "The request's method or URL has characters that cannot stand there."}
}

// whole says whether a part of a request line is no more than that.
func whole(s string) bool {
	for i := range len(s) {
		if b := s[i]; b <= ' ' || b == 0x7f || b == '#' {
			return false
		}
	}
	return true
}

// rawPath returns the path and the query as the client sent them.
func rawPath(r *http.Request) (p, query string) {
	p = r.RequestURI
	if !strings.HasPrefix(p, "/") { // a proxy's form, or none
		p = r.URL.EscapedPath()
		if p == "" {
			p = "/"
		}
		return p, r.URL.RawQuery
	}
	p, query, _ = strings.Cut(p, "?")
	return p, query
}

// guess names the API of a path whose route is not known yet, for errors.
func guess(raw string, h http.Header) (api, endpoint) {
	if i := strings.LastIndex(raw, "/v1/"); i >= 0 {
		return classify(raw[i+len("/v1"):], h)
	}
	return classify(raw, h)
}

// local keeps pages in a browser from using a gateway that asks for no key.
func (c *call) local() *refusal {
	if !c.s.guarded {
		return nil
	}
	site, origin := c.r.Header["Sec-Fetch-Site"], c.r.Header["Origin"]
	if !loopback.Host(c.r.Host) || len(site) > 0 && site[0] == "cross-site" || len(origin) > 0 && !ownOrigin(origin[0]) {
		return &refusal{status: http.StatusForbidden, reason: BadHost, message: "This gateway serves this machine only; it has to be asked by the name localhost, and not by another site's page."}
	}
	return nil
}

// ownOrigin says whether a page is this machine's. Programs that are no browsers have origins of other schemes.
func ownOrigin(origin string) bool {
	scheme, host, ok := strings.Cut(origin, "://")
	return !ok || scheme != "http" && scheme != "https" || loopback.Host(host)
}

// candidates returns the largest body that a route of this path takes; 0 when there is none.
func (c *call) candidates(raw string) (limit int64) {
	for _, r := range c.s.routes {
		if _, ok := split(raw, r.prefix); ok {
			limit = max(limit, r.maxBody)
		}
	}
	return limit
}

func (c *call) authenticate() *refusal {
	if c.g.o.Access == nil {
		if c.s.require {
			return noKey()
		}
		return nil
	}
	client, err := c.g.o.Access.Authenticate(c.r.Header)
	switch {
	case err != nil:
		return &refusal{status: http.StatusUnauthorized, reason: BadKey, code: "invalid_api_key", message: "Incorrect key: " + err.Error() + "."}
	case client == nil && c.s.require:
		return noKey()
	case client == nil:
		return nil
	}
	c.client = client
	wait, err := client.Admit(c.start)
	switch {
	case errors.Is(err, access.ErrBudget):
		return &refusal{status: http.StatusTooManyRequests, reason: OverBudget, code: "insufficient_quota", message: "The key has used up its budget of the day.", wait: wait}
	case err != nil:
		return &refusal{status: http.StatusTooManyRequests, reason: RateLimited, code: "rate_limit_exceeded", message: "The key's rate limit is reached: " + err.Error() + ".", wait: wait}
	}
	return nil
}

func noKey() *refusal {
	return &refusal{status: http.StatusUnauthorized, reason: NoKey, code: "invalid_api_key", message: "A key of this gateway is needed: Authorization: Bearer tt_…, x-api-key or telltale-key."}
}

// choose finds the route.
func (c *call) choose(raw string) *refusal {
	if len(c.body) > 0 && isJSON(c.r.Header) {
		c.facts = look(c.body)
	}
	named := c.facts.object && c.facts.model != ""
	for _, r := range c.s.routes {
		rest, ok := split(raw, r.prefix)
		if !ok {
			continue
		}
		c.api, c.endpoint = classify(rest, c.r.Header)
		if c.endpoint != unknown && c.r.Method == http.MethodPost && !c.facts.object && (r.byModel() || r.edited) {
			return &refusal{status: http.StatusBadRequest, reason: BadBody, code: "invalid_json", message: "The request's body is not one uncompressed JSON object."}
		}
		if c.facts.ambiguous && (r.byModel() || r.edited) {
			return &refusal{status: http.StatusBadRequest, reason: BadBody, code: "invalid_json", message: "The model is given twice."}
		}
		if r.takes(c.facts.model, named) {
			c.route, c.rest = r, rest
			break
		}
	}
	if c.route == nil {
		return &refusal{status: http.StatusNotFound, reason: NoRoute, code: "model_not_found", message: fmt.Sprintf("No route of this gateway serves the model %q.", clip(c.facts.model, 100))}
	}
	if len(c.route.tiers[c.api]) == 0 {
		return &refusal{status: http.StatusNotFound, reason: NoRoute, code: "unknown_url", message: "No upstream of the route speaks this API."}
	}
	return nil
}

// isJSON says whether the body can be looked at.
func isJSON(h http.Header) bool {
	if len(h["Content-Encoding"]) > 0 && h["Content-Encoding"][0] != "identity" {
		return false
	}
	ct := h["Content-Type"]
	return len(ct) == 0 || ct[0] == "application/json" || !strings.HasPrefix(strings.ToLower(ct[0]), "multipart/")
}

// permit says whether the client may use the route.
func (c *call) permit() *refusal {
	keys := c.route.keys
	switch {
	case c.client == nil && len(keys) == 0:
		return nil
	case c.client == nil:
		return noKey()
	case c.client.Allows(c.route.name) && (len(keys) == 0 || slices.Contains(keys, c.client.Name())):
		return nil
	}
	return &refusal{status: http.StatusForbidden, reason: Forbidden, code: "forbidden", message: "The key may not use this route."}
}

// refuse answers with an error of the gateway's own. What the client has yet to send of its body must not hold the
// connection for long.
func (c *call) refuse(e *refusal) {
	c.g.stats.refused[e.reason].Add(1)
	rc := http.NewResponseController(c.w)
	_ = rc.SetReadDeadline(c.g.o.Now().Add(5 * time.Second))
	switch e.reason {
	case TooLarge, SlowBody, GoneBody, BadBody, BusyBodies:
		if c.r.ProtoMajor == 1 { // in HTTP/2 it would end the client's other requests too
			c.w.Header()["Connection"] = []string{"close"}
		}
	}
	c.writeBy(c.g.o.Now())
	writeRefusal(c.w, c.api, c.id, e)
	c.freeBody()
}
