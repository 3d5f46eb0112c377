package bus

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Errors of buckets.
var (
	// ErrNotFound: the key has no value.
	ErrNotFound = errors.New("bus: no such key")
	// ErrConflict: the key was changed by someone else.
	ErrConflict = errors.New("bus: the key was changed meanwhile")
	// ErrKey: the key has other characters than letters, digits and -_/=. , or dots at its ends.
	ErrKey = errors.New("bus: key: want letters, digits and any of - _ / = . inside")

	errWatchEnded = errors.New("bus: the watch over a bucket ended")
)

var keyRE = regexp.MustCompile(`^[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*$`)

// Bucket is a small key-value store of the bus, replicated like the streams and synced before a write returns.
// Every call ends within requestTimeout when its context has no nearer end.
type Bucket struct{ kv jetstream.KeyValue }

// Entry is a key's value. Revision grows with every change of the bucket.
type Entry struct {
	Key      string
	Value    []byte
	Revision uint64
	Time     time.Time
	Deleted  bool // in Watch only
}

// Bucket opens a bucket, and makes it when it is not there.
func (b *Bus) Bucket(ctx context.Context, name string) (*Bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !nameRE.MatchString(name) {
		return nil, fmt.Errorf("bus: bucket %q: want letters, digits, - and _", name)
	}
	kv, err := b.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: "telltale-" + name, History: 1, Storage: jetstream.FileStorage, Replicas: b.cfg.Replicas, MaxValueSize: 1 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("bus: bucket %s: %w", name, err)
	}
	return &Bucket{kv}, nil
}

// Get returns a key's value, or ErrNotFound.
func (b *Bucket) Get(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !keyRE.MatchString(key) {
		return Entry{}, ErrKey
	}
	e, err := b.kv.Get(ctx, key)
	if err != nil {
		return Entry{}, kvError(err)
	}
	return entry(e), nil
}

// Put sets a key whatever its value was, and returns the new revision.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !keyRE.MatchString(key) {
		return 0, ErrKey
	}
	rev, err := b.kv.Put(ctx, key, value)
	return rev, kvError(err)
}

// CompareAndSet sets a key if its revision still is the given one, 0 for a key without value; else the error is
// ErrConflict. After any other error the value may or may not have been set.
func (b *Bucket) CompareAndSet(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !keyRE.MatchString(key) {
		return 0, ErrKey
	}
	var rev uint64
	var err error
	if revision == 0 {
		rev, err = b.kv.Create(ctx, key, value)
	} else {
		rev, err = b.kv.Update(ctx, key, value, revision)
	}
	return rev, kvError(err)
}

// Delete removes a key, if its revision still is the given one; 0 removes it whatever it is.
func (b *Bucket) Delete(ctx context.Context, key string, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if !keyRE.MatchString(key) {
		return ErrKey
	}
	var opts []jetstream.KVDeleteOpt
	if revision > 0 {
		opts = append(opts, jetstream.LastRevision(revision))
	}
	return kvError(b.kv.Delete(ctx, key, opts...))
}

// Keys returns all keys that have values, sorted.
func (b *Bucket) Keys(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := b.kv.ListKeys(ctx)
	if err != nil {
		return nil, kvError(err)
	}
	var out []string
	for k := range list.Keys() {
		out = append(out, k)
	}
	slices.Sort(out)
	return slices.Compact(out), ctx.Err()
}

// Watch calls fn with the present value of every key that matches, and then with every change, one at a time and in
// order, until the context ends (nil) or fn fails. A key matches the pattern by its parts between dots: * is any one of
// them, > all that follow. It may miss none but may repeat some when the connection was lost.
func (b *Bucket) Watch(ctx context.Context, pattern string, fn func(Entry) error) error {
	w, err := b.kv.Watch(ctx, pattern)
	if err != nil {
		return kvError(err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-w.Updates():
			if !ok {
				return errWatchEnded
			}
			if e == nil {
				continue // between what there was and what changes
			}
			if err := fn(entry(e)); err != nil {
				return err
			}
		}
	}
}

func entry(e jetstream.KeyValueEntry) Entry {
	return Entry{Key: e.Key(), Value: e.Value(), Revision: e.Revision(), Time: e.Created(), Deleted: e.Operation() != jetstream.KeyValuePut}
}

func kvError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrKeyDeleted) {
		return ErrNotFound
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); errors.Is(err, jetstream.ErrKeyExists) || ok && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return ErrConflict
	}
	return fmt.Errorf("bus: %w", err)
}
