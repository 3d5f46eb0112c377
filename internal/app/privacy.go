package app

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/privacy"
)

// mostPreviewed is how many bytes a text that is shown redacted may have.
const mostPreviewed = 16 << 20

// PreviewOptions are for Preview.
type PreviewOptions struct {
	// Config is the server's configuration; the rules without any when it is empty.
	Config string
	Route  string
	Field  string // as in privacy.fields
	Env    func(string) (string, bool)
}

// Previewed is a text as redaction leaves it.
type Previewed struct {
	Text    string        `json:"text"`
	Found   privacy.Found `json:"found"`
	Version string        `json:"version"`
}

// Preview redacts a text by a server's rules. Nothing is written; a configuration without a key gets one for the moment,
// so that pseudonyms differ from those of the server.
func Preview(ctx context.Context, in io.Reader, o PreviewOptions) (*Previewed, error) {
	server := &config.Server{}
	if o.Config != "" {
		var err error
		if server, err = LoadServer(o.Config, o.Env); err != nil {
			return nil, err
		}
	}
	if o.Route != "" && !slices.ContainsFunc(server.Routes, func(r config.Route) bool { return r.Name == o.Route }) {
		return nil, &config.Error{Pos: config.Pos{Key: "--route"}, Value: o.Route, Problem: "there is no such route", Want: "the name of a route in " + orDefault(o.Config, "the server's configuration (--config)")}
	}
	if tag, isTag := strings.CutPrefix(o.Field, "tags."); !slices.Contains(config.PrivacyFields, o.Field) && (!isTag || tag == "") {
		return nil, &config.Error{Pos: config.Pos{Key: "--field"}, Value: o.Field, Problem: "not a field", Want: strings.Join(config.PrivacyFields, ", ") + " or tags.NAME"}
	}
	if p := &server.Privacy; len(p.Key) == 0 {
		p.Key, p.KeyID = make([]byte, privacyKeyBytes), "own"
		if _, err := rand.Read(p.Key); err != nil {
			return nil, &CouldNotRun{Err: err}
		}
	}
	r, err := privacy.New(server.Privacy, privacy.Options{})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(in, mostPreviewed+1))
	if err != nil {
		return nil, &CouldNotRun{Err: err}
	}
	if len(b) > mostPreviewed {
		return nil, &CouldNotRun{Err: fmt.Errorf("the text has more than %d bytes", mostPreviewed)}
	}
	out, found, err := r.Preview(ctx, o.Route, o.Field, string(b))
	if err != nil {
		return nil, &CouldNotRun{Err: fmt.Errorf("the service for names: %w", err)}
	}
	return &Previewed{Text: out, Found: found, Version: r.Version()}, nil
}

func orDefault(s, def string) string {
	if s == "" {
		return def
	}
	return s
}
