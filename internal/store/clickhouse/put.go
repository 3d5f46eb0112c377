package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/store"
)

// around is how far from a batch's times its ids are looked for. A record that is sent again by the bus or by a client has the
// same time; the rest covers clients that leave the time to us and send again.
const around = time.Hour

const exchangeColumns = `time, id, key, source, route, variant, snapshot, propensity, inclusion, api, stream, provider, upstream, model, served, ` +
	`fingerprint, endpoint, status, error_kind, error, finish_reason, refused, failed, latency, ttft, cost, prompt_tokens, ` +
	`completion_tokens, total_tokens, cached_tokens, reasoning_tokens, user_id, session, tags, client, retries, attempts, trace_id, ` +
	`span_id, parent_id, input_hash, input_bytes, output_bytes, redaction, params, detail, score_names, score_values`

// Put is exactly once in three layers: ids that are stored within an hour of the batch's times are left out; a block that is sent
// again because its acknowledgement was lost is recognised by its token; and rows with the same time and id, from two
// processes at the same moment, are one for every reader and are merged later.
//
// Content goes first: whoever sees an exchange sees its content.
func (s *Store) Put(ctx context.Context, xs []record.Exchange) (int, error) {
	flat, contents, err := store.FlattenAll(xs)
	if err != nil || len(flat) == 0 {
		return 0, err
	}
	s.put.Lock()
	defer s.put.Unlock()
	fresh, err := s.fresh(ctx, flat)
	if err != nil {
		return 0, fmt.Errorf("store: put: %w", err)
	}
	if len(fresh) == 0 {
		return 0, ctx.Err()
	}
	var with []*store.ContentRow
	ids := xxhash.New()
	for _, i := range fresh {
		_, _ = ids.WriteString(flat[i].ID + "\n")
		if contents[i] != nil {
			with = append(with, contents[i])
		}
	}
	token := strconv.FormatUint(ids.Sum64(), 16)
	if len(with) > 0 {
		err = s.conn.insert(ctx, "content", store.ContentColumns, token, len(with), func(i int) []any { return contentValues(with[i]) })
	}
	if err == nil {
		err = s.conn.insert(ctx, "exchanges", exchangeColumns, token, len(fresh), func(i int) []any { return values(&flat[fresh[i]]) })
	}
	if err != nil {
		return 0, fmt.Errorf("store: put: %w", err)
	}
	return len(fresh), nil
}

func contentValues(c *store.ContentRow) []any {
	return []any{c.Time, c.ID, c.Key, c.Said, c.System, c.Input, c.Output, c.ToolCalls, c.Refusal, c.Body, c.TopK, c.Embedding, c.Reasons}
}

func values(r *store.Row) []any {
	names, scores := r.ScoreNames, r.ScoreValues
	if names == nil {
		names, scores = []string{}, []float64{}
	}
	return []any{r.Time, r.ID, r.Key, r.Source, r.Route, r.Variant, r.Snapshot, r.Propensity, r.Inclusion, r.API, r.Stream,
		r.Provider, r.Upstream, r.Model, r.Served, r.Fingerprint, r.Endpoint, r.Status, r.ErrorKind, r.Error, r.FinishReason,
		r.Refused, r.Failed, r.Latency, r.TTFT, r.Cost, r.PromptTokens, r.CompletionTokens, r.TotalTokens, r.CachedTokens,
		r.ReasoningTokens, r.User, r.Session, r.Tags, r.Client, r.Retries, r.Attempts, r.TraceID, r.SpanID, r.ParentID,
		r.InputHash, r.InputBytes, r.OutputBytes, r.Redaction, r.Params, r.Detail, names, scores}
}

// fresh returns the indexes of the rows to store: the first of each id, without those that are stored.
func (s *Store) fresh(ctx context.Context, flat []store.Row) ([]int, error) {
	known := make(map[string]bool, len(flat))
	from, to := flat[0].Time, flat[0].Time
	var keys strings.Builder
	for i := range flat {
		known[flat[i].ID] = false
		if i > 0 {
			keys.WriteByte(',')
		}
		keys.WriteString(strconv.FormatInt(flat[i].Key, 10))
		if t := flat[i].Time; t.Before(from) {
			from = t
		} else if t.After(to) {
			to = t
		}
	}
	query := `SELECT id FROM exchanges WHERE time >= ` + dialect.Time + ` AND time <= ` + dialect.Time + ` AND key IN (` + keys.String() + `)`
	err := s.each(ctx, query, []any{dialect.Bind(from.Add(-around)), dialect.Bind(to.Add(around))}, func(r rows) error {
		var id string
		if err := r.Scan(&id); err != nil {
			return err
		}
		if _, asked := known[id]; asked {
			known[id] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var fresh []int
	for i := range flat {
		if !known[flat[i].ID] {
			known[flat[i].ID] = true
			fresh = append(fresh, i)
		}
	}
	return fresh, nil
}

// PutSnapshots stores snapshots; the same again is merged with the first.
func (s *Store) PutSnapshots(ctx context.Context, ss []record.Snapshot) error {
	return s.putJSON(ctx, "snapshots", "id, data", len(ss), func(i int) (any, func(string) []any) {
		return ss[i], func(data string) []any { return []any{ss[i].ID, data} }
	})
}

// PutRollups stores roll-ups; of those with the same ID and start the last is kept.
func (s *Store) PutRollups(ctx context.Context, rs []record.Rollup) error {
	return s.putJSON(ctx, "rollups", "id, start, route, variant, segment, data", len(rs), func(i int) (any, func(string) []any) {
		r := &rs[i]
		return r, func(data string) []any { return []any{r.ID, r.Start.UTC(), r.Route, r.Variant, r.Segment, data} }
	})
}

func (s *Store) putJSON(ctx context.Context, table, columns string, n int, row func(int) (any, func(string) []any)) error {
	if n == 0 {
		return nil
	}
	out := make([][]any, n)
	sum := xxhash.New()
	for i := range out {
		v, values := row(i)
		data, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("store: put: %w", err)
		}
		_, _ = sum.Write(data)
		out[i] = values(string(data))
	}
	// The time is in the token because an older value may be put again after a newer one.
	token := strconv.FormatUint(sum.Sum64(), 16) + strconv.FormatInt(time.Now().UnixNano(), 16)
	if err := s.conn.insert(ctx, table, columns, token, n, func(i int) []any { return out[i] }); err != nil {
		return fmt.Errorf("store: put: %w", err)
	}
	return nil
}
