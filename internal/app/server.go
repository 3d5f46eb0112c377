package app

import (
	"errors"
	"fmt"
	"os"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/privacy"
	"github.com/telltale-llm/telltale/internal/scorer"
)

// IsServer says whether a file holds a server's configuration rather than a suite. A file that cannot be read does not.
func IsServer(path string) bool {
	data, err := os.ReadFile(path)
	return err == nil && config.IsServer(path, data)
}

// ValidateServer checks a server's configuration as far as that can be done without starting it, and returns a line
// about what it holds.
func ValidateServer(path string, env func(string) (string, bool)) (string, error) {
	server, err := LoadServer(path, env)
	if err != nil {
		return "", err
	}
	if err := errors.Join(gateway.CheckListen(server), checkAPI(server)); err != nil {
		return "", err
	}
	rules := server.Privacy
	if len(rules.Key) == 0 { // the server makes one at its first start
		rules.Key, rules.KeyID = make([]byte, privacyKeyBytes), ownKeyID
	}
	if _, err := privacy.New(rules, privacy.Options{}); err != nil {
		return "", err
	}
	upstreams := 0
	for i := range server.Routes {
		upstreams += len(server.Routes[i].Upstreams)
	}
	return fmt.Sprintf("%d routes, %d upstreams, %d scorers", len(server.Routes), upstreams, len(server.Scorers)), nil
}

// LoadServer reads a server's configuration with the keys that it refers to.
func LoadServer(path string, env func(string) (string, bool)) (*config.Server, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path, Key: "--config"}, Problem: "cannot be read", Err: err, Hint: "telltale serve init writes one to start from"}
	}
	return config.LoadServer(path, data, config.Options{Env: env, Read: os.ReadFile, Assertion: func(name string) config.Known { return known(name, scorer.CodeRefused) }})
}
