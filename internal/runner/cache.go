package runner

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

// Cache keeps answers on disk, one file each, so that several processes can share it. A file that
// cannot be read is a miss. Failures are never kept.
type Cache struct {
	dir    string
	broken atomic.Pointer[error]
}

// cacheVersion is part of every key; it changes when what is kept changes.
const cacheVersion = "1"

// OpenCache opens or creates the cache in dir.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	return &Cache{dir: dir}, nil
}

// Key identifies an answer: snapshot, rendered request, repeat and seed.
func Key(snapshot *record.Snapshot, req *record.Request) string {
	h := sha256.New()
	e := json.NewEncoder(h)
	// Encoding plain data cannot fail, and a hash takes every write.
	parts := []any{cacheVersion, snapshot.ID, req.Messages, req.Repeat, req.Seed, req.Stream}
	if len(req.Continuations) > 0 || req.ScorePrompt {
		parts = append(parts, req.Continuations, req.ScorePrompt)
	}
	if req.JSON {
		parts = append(parts, "json")
	}
	_ = e.Encode(parts)
	return hex.EncodeToString(h.Sum(nil))
}

// keyFolder is how many digits of a key name the folder of its answer.
const keyFolder = 2

func (c *Cache) path(key string) string {
	return filepath.Join(c.dir, key[:keyFolder], key[keyFolder:]+".json")
}

// Get returns the kept answer.
func (c *Cache) Get(key string) (record.Response, bool) {
	var resp record.Response
	b, err := os.ReadFile(c.path(key))
	if err != nil {
		return resp, false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&resp); err != nil {
		return record.Response{}, false
	}
	return resp, true
}

// Put keeps an answer. What cannot be kept costs a later run money, not this one its result: the first
// error is remembered for Err, and the run goes on.
func (c *Cache) Put(key string, resp *record.Response) {
	if err := c.put(key, resp); err != nil {
		c.broken.CompareAndSwap(nil, &err)
	}
}

func (c *Cache) put(key string, resp *record.Response) error {
	path := c.path(key)
	b, err := json.Marshal(resp)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
		if os.IsNotExist(err) {
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = os.Rename(f.Name(), path)
			}
		}
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// Err is the first error that kept an answer from being kept.
func (c *Cache) Err() error {
	if p := c.broken.Load(); p != nil {
		return *p
	}
	return nil
}

// Prune removes the oldest answers until at most maxBytes are left, and what a killed process left behind.
func (c *Cache) Prune(maxBytes int64) error {
	type entry struct {
		path string
		size int64
		when time.Time
	}
	var all []entry
	var total int64
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != c.dir && len(d.Name()) != keyFolder {
			return fs.SkipDir // not answers: fetched datasets
		}
		if err != nil || d.IsDir() {
			return ignoreMissing(err)
		}
		info, err := d.Info()
		if err != nil {
			return ignoreMissing(err)
		}
		if filepath.Dir(path) == c.dir {
			if time.Since(info.ModTime()) > time.Hour {
				return ignoreMissing(os.Remove(path))
			}
			return nil
		}
		all = append(all, entry{path, info.Size(), info.ModTime()})
		total += info.Size()
		return nil
	})
	if err != nil {
		return err
	}
	sort.Slice(all, func(i, j int) bool { return all[i].when.Before(all[j].when) })
	for _, e := range all {
		if total <= maxBytes {
			break
		}
		if err := ignoreMissing(os.Remove(e.path)); err != nil {
			return err
		}
		total -= e.size
	}
	return nil
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
