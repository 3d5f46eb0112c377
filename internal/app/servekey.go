package app

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/telltale-llm/telltale/internal/config"
)

const (
	privacyKeyFile  = "privacy.key"
	privacyKeyBytes = 32
	ownKeyID        = "own"
)

// keyed gives a configuration without a key for pseudonyms one of its own, which is kept in the data directory: with it
// users who are named by an address stay apart without being named, sampling cannot be foretold, and telltale forget finds
// people again.
func keyed(server *config.Server) error {
	p := &server.Privacy
	if len(p.Key) == 0 {
		key, err := ownKey(filepath.Join(server.Data, privacyKeyFile))
		if err != nil {
			return fmt.Errorf("data %q: the key of pseudonyms cannot be kept there: %w", server.Data, err)
		}
		p.Key, p.KeyID = key, ownKeyID
		server.Secrets = append(server.Secrets, string(key))
	}
	return nil
}

// ownKey reads the key in a file, and makes it first where there is none.
func ownKey(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err == nil && len(b) == 2*privacyKeyBytes {
		return b, nil
	}
	if err == nil {
		return nil, &CouldNotRun{Err: fmt.Errorf("%s is no key: it has %d bytes, not %d", path, len(b), 2*privacyKeyBytes)}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, &CouldNotRun{Err: err}
	}
	random := make([]byte, privacyKeyBytes)
	if _, err := rand.Read(random); err != nil {
		return nil, &CouldNotRun{Err: err}
	}
	key := hex.AppendEncode(nil, random)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, &CouldNotRun{Err: err}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, &CouldNotRun{Err: err}
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, &CouldNotRun{Err: errors.Join(err, os.Remove(path))}
	}
	return key, nil
}
