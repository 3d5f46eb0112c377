package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Probed is how an upstream answered a request for its list of models.
type Probed struct {
	Status int
	Took   time.Duration
	// Skew is how far the upstream's clock is ahead of this machine's; nil when it does not tell its time. The header
	// has whole seconds.
	Skew *time.Duration
	// Models are the names on the list; nil when the answer has none.
	Models []string
}

const maxModels = 4 << 20 // bytes of the list

// Probe asks an upstream for its list of models, over the connection and with the key that requests have. That costs no
// token. An error means that there was no answer; it holds no key.
func Probe(ctx context.Context, uc *config.Upstream) (Probed, error) {
	s := &state{upstreams: map[string]*upstream{}}
	u, err := s.open(uc, "", nil)
	if err != nil {
		return Probed{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.pool.url.Scheme+"://"+u.pool.url.Host+u.base+"/models", nil)
	if err != nil {
		return Probed{}, err
	}
	r.Host = u.host
	if u.format == anthropic.String() || u.format == "" && strings.HasSuffix(u.pool.url.Hostname(), "anthropic.com") {
		r.Header.Set("Anthropic-Version", "2023-06-01")
		if u.key != "" {
			r.Header.Set("X-Api-Key", u.key)
		}
	} else if u.key != "" {
		r.Header.Set("Authorization", "Bearer "+u.key)
	}
	for k, v := range u.headers {
		r.Header[k] = v
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: u.pool.secure, TLSHandshakeTimeout: dialTimeout, DisableKeepAlives: true}
	client := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	began := time.Now()
	resp, err := client.Do(r)
	if err != nil {
		return Probed{}, fmt.Errorf("no answer: %w", unwrapURL(err))
	}
	defer resp.Body.Close()
	out := Probed{Status: resp.StatusCode, Took: time.Since(began)}
	if there, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		skew := there.Add(time.Second / 2).Sub(began.Add(out.Took / 2)) // the header cuts the second off
		out.Skew = &skew
	}
	var list struct{ Data []struct{ ID string } }
	if resp.StatusCode == http.StatusOK && json.NewDecoder(io.LimitReader(resp.Body, maxModels)).Decode(&list) == nil {
		for _, m := range list.Data {
			out.Models = append(out.Models, m.ID)
		}
	}
	return out, nil
}

// unwrapURL leaves the address out, which the caller names.
func unwrapURL(err error) error {
	for next := errors.Unwrap(err); next != nil && strings.HasPrefix(err.Error(), "Get "); next = errors.Unwrap(err) {
		err = next
	}
	return err
}
