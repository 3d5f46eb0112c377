package app

import (
	"context"
	"fmt"
	"os"

	"github.com/telltale-llm/telltale/internal/config"
)

// IsRollout says whether a file holds a rollout or an experiment. A file that cannot be read does not.
func IsRollout(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && config.IsRollout(path, data)
}

// LoadRollout reads a rollout or an experiment.
func LoadRollout(path string, env func(string) (string, bool)) (*config.Rollout, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot be read", Err: err}
	}
	return config.LoadRollout(path, data, config.Options{Env: env})
}

// ValidateRollout checks a rollout or an experiment by itself, and against the servers' configurations that are given with
// it: its route, variants and scorers must be those of one. It returns a line about what it holds.
func ValidateRollout(path string, servers []string, env func(string) (string, bool)) (string, error) {
	doc, err := LoadRollout(path, env)
	if err != nil {
		return "", err
	}
	var misses []error
	for _, file := range servers {
		server, err := LoadServer(file, env)
		if err != nil {
			continue // it is validated itself
		}
		err = doc.Check(server)
		if err == nil && doc.Sentinels != nil {
			err = (&sentinels{doc: doc, server: server, env: env}).check(context.Background())
		}
		if err != nil {
			misses = append(misses, err)
			continue
		}
		misses = nil
		break
	}
	if len(misses) > 0 {
		return "", misses[0]
	}
	if doc.Kind == config.KindExperiment {
		return fmt.Sprintf("experiment %s on route %s: %d variants, metric %s", doc.Name, doc.Route, len(doc.Arms), doc.Metric.Name), nil
	}
	return fmt.Sprintf("rollout %s on route %s: %s in %d stages, %d signals", doc.Name, doc.Route, doc.Candidate, len(doc.Stages), len(doc.Signals)), nil
}
