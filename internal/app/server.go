package app

import (
	"errors"
	"fmt"
	"os"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/guard"
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
	if err := checkServer(server); err != nil {
		return "", err
	}
	_, closeScorers, err := compileOnline(server, env, "")
	if err != nil {
		return "", err
	}
	if err := closeScorers(); err != nil {
		return "", err
	}
	if _, err := access.Open(access.Options{File: server.Access.File}); err != nil {
		return "", err
	}
	upstreams := 0
	for i := range server.Routes {
		upstreams += len(server.Routes[i].Upstreams)
	}
	return fmt.Sprintf("%d routes, %d upstreams, %d scorers", len(server.Routes), upstreams, len(server.Scorers)), nil
}

// checkServer finds what is wrong with addresses and rules before anything is written.
func checkServer(server *config.Server) error {
	if err := errors.Join(gateway.CheckListen(server), checkAPI(server)); err != nil {
		return err
	}
	rules := server.Privacy
	if len(rules.Key) == 0 { // the server makes one at its first start
		rules.Key, rules.KeyID = make([]byte, privacyKeyBytes), ownKeyID
	}
	_, err := privacy.New(rules, privacy.Options{})
	return err
}

// LoadServer reads a server's configuration with the keys that it refers to.
func LoadServer(path string, env func(string) (string, bool)) (*config.Server, error) {
	return loadServer(path, env, nil)
}

// LoadServerNames is LoadServer without the keys: for those who need routes and places only.
func LoadServerNames(path string, env func(string) (string, bool)) (*config.Server, error) {
	return readServer(path, config.Options{Env: env, WithoutKeys: true})
}

// LoadUpstreams is LoadServer with the upstreams' keys, also where the file leaves the gateway to another process.
func LoadUpstreams(path string, env func(string) (string, bool)) (*config.Server, error) {
	return loadServer(path, env, &config.Placement{Roles: config.Roles[:]})
}

// loadServer is LoadServer with what the command line says instead of the file.
func loadServer(path string, env func(string) (string, bool), place *config.Placement) (*config.Server, error) {
	return readServer(path, config.Options{Env: env, Placement: place})
}

func readServer(path string, o config.Options) (*config.Server, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path, Key: "--config"}, Problem: "cannot be read", Err: err, Hint: "telltale serve init writes one to start from"}
	}
	o.Read = os.ReadFile
	o.Assertion = func(name string) config.Known { return known(name, scorer.CodeRefused) }
	server, err := config.LoadServer(path, data, o)
	if err != nil {
		return nil, err
	}
	// What a guard looks for is known to its own package.
	var errs config.Errors
	for i := range server.Guards {
		if _, err := guard.New(server.Guards[i]); err != nil {
			errs.Append(server.Guards[i].Pos, err)
		}
	}
	return server, errs.Err()
}
