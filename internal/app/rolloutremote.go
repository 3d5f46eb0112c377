package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/rollout"
)

// Rollouts lists the rollouts of the server, newest first.
func (r *Remote) Rollouts(ctx context.Context) ([]api.Rollout, error) {
	var out struct {
		Rollouts []api.Rollout `json:"rollouts"`
	}
	return out.Rollouts, r.get(ctx, "/v1/rollouts", nil, &out)
}

// Rollout returns how a rollout stands.
func (r *Remote) Rollout(ctx context.Context, name string) (api.Rollout, error) {
	var out api.Rollout
	return out, r.get(ctx, "/v1/rollouts/"+url.PathEscape(name), nil, &out)
}

// RolloutHistory returns every transition of a rollout, oldest first.
func (r *Remote) RolloutHistory(ctx context.Context, name string) ([]rollout.Transition, error) {
	var out struct {
		Transitions []rollout.Transition `json:"transitions"`
	}
	return out.Transitions, r.get(ctx, "/v1/rollouts/"+url.PathEscape(name)+"/history", nil, &out)
}

// StartRollout starts the rollout of a file. Mistakes that only the server can see are shown where they are in the file.
func (r *Remote) StartRollout(ctx context.Context, path string, by, why string) (api.Rollout, error) {
	var out api.Rollout
	data, err := os.ReadFile(path)
	if err != nil {
		return out, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Want: "a rollout.yaml", Err: err}
	}
	doc, err := config.LoadRollout(path, data, config.Options{})
	if err != nil {
		return out, err
	}
	resp, err := r.do(ctx, http.MethodPost, "/v1/rollouts", url.Values{"by": {by}, "why": {why}}, "application/yaml", bytes.NewReader(data))
	if errs, ok := errors.AsType[config.Errors](err); ok {
		for _, e := range errs {
			e.Pos = doc.Place(e.Pos.Key)
		}
	}
	if err != nil {
		return out, err
	}
	return out, read(resp, &out)
}

// CommandRollout asks for a change.
func (r *Remote) CommandRollout(ctx context.Context, name string, c rollout.Command) (api.Rollout, error) {
	var out api.Rollout
	body, err := json.Marshal(map[string]string{"by": c.By, "why": c.Why})
	if err != nil {
		return out, err
	}
	resp, err := r.do(ctx, http.MethodPost, "/v1/rollouts/"+url.PathEscape(name)+"/"+string(c.Kind), nil, "application/json", bytes.NewReader(body))
	if err != nil {
		return out, err
	}
	return out, read(resp, &out)
}
