package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/store"
)

// table is a table of the schema. On a cluster it is two: NAME_local on each node, replicated and in shards, and NAME over all
// of them, which is read from and inserted into.
type table struct {
	name    string
	columns string
	engine  string // without Replicated
	tail    string // partition, order, settings
	shard   string // what decides the shard
}

// Rows of one day are one partition, so that a day that is too old is dropped as a whole. Blocks that were inserted before are
// recognised among the last thousand. Parts that a mutation replaced are deleted soon: deleting is meant.
const partitioned = `PARTITION BY toDate(%[1]s) ORDER BY (%[1]s, id) SETTINGS ttl_only_drop_parts = 1, old_parts_lifetime = 60`

// scored is for what is looked for by its exchange. What is sent again has the same time, and so is in the same partition.
const scored = `PARTITION BY toDate(time) ORDER BY (key, id, name, mark) SETTINGS ttl_only_drop_parts = 1, old_parts_lifetime = 60`

// migrations bring the tables from version n to n+1. A step may be run again after it stopped half-way: ClickHouse has no
// transactions for this. One that was released is never changed.
var migrations = [][]table{{
	{"exchanges", `time DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)), id String CODEC(ZSTD(1)), key Int64 CODEC(NONE),
		source LowCardinality(String), route LowCardinality(String), variant LowCardinality(String), snapshot LowCardinality(String),
		propensity Float64 CODEC(ZSTD(1)), inclusion Float64 CODEC(ZSTD(1)), api LowCardinality(String), stream Bool,
		provider LowCardinality(String), upstream LowCardinality(String), model LowCardinality(String), served LowCardinality(String),
		fingerprint LowCardinality(String), endpoint LowCardinality(String), status Int32, error_kind LowCardinality(String),
		error String CODEC(ZSTD(1)), finish_reason LowCardinality(String), refused Bool, failed Bool,
		latency Nullable(Float64) CODEC(ZSTD(1)), ttft Nullable(Float64) CODEC(ZSTD(1)), cost Nullable(Float64) CODEC(ZSTD(1)),
		prompt_tokens Nullable(Int64) CODEC(T64, ZSTD(1)), completion_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
		total_tokens Nullable(Int64) CODEC(T64, ZSTD(1)), cached_tokens Nullable(Int64) CODEC(T64, ZSTD(1)),
		reasoning_tokens Nullable(Int64) CODEC(T64, ZSTD(1)), user_id String CODEC(ZSTD(1)), session String CODEC(ZSTD(1)),
		tags String CODEC(ZSTD(1)), client LowCardinality(String), retries Int32, attempts Int32, trace_id String CODEC(ZSTD(1)),
		span_id String CODEC(ZSTD(1)), parent_id String CODEC(ZSTD(1)), input_hash String CODEC(ZSTD(1)),
		input_bytes Int64 CODEC(T64, ZSTD(1)), output_bytes Int64 CODEC(T64, ZSTD(1)), redaction LowCardinality(String),
		params String CODEC(ZSTD(1)), detail String CODEC(ZSTD(1)), score_names Array(LowCardinality(String)), score_values Array(Float64),
		INDEX by_key key TYPE bloom_filter(0.001) GRANULARITY 1, INDEX by_user user_id TYPE bloom_filter(0.01) GRANULARITY 4,
		INDEX by_session session TYPE bloom_filter(0.01) GRANULARITY 4, INDEX by_trace trace_id TYPE bloom_filter(0.01) GRANULARITY 4`,
		"ReplacingMergeTree", fmt.Sprintf(partitioned, "time"), "reinterpretAsUInt64(key)"},
	{"content", `time DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)), id String CODEC(ZSTD(1)), key Int64 CODEC(NONE), said Bool,
		system String CODEC(ZSTD(3)), input String CODEC(ZSTD(3)), output String CODEC(ZSTD(3)), tool_calls String CODEC(ZSTD(3)),
		refusal String CODEC(ZSTD(3)), body String CODEC(ZSTD(3)), top_k String CODEC(ZSTD(3)), embedding String CODEC(ZSTD(1)),
		reasons String CODEC(ZSTD(3)), INDEX by_key key TYPE bloom_filter(0.001) GRANULARITY 1`,
		"ReplacingMergeTree", fmt.Sprintf(partitioned, "time"), "reinterpretAsUInt64(key)"},
	{"snapshots", `id String, data String CODEC(ZSTD(3))`, "ReplacingMergeTree", "ORDER BY id", "xxHash64(id)"},
	{"rollups", `id String, start DateTime64(6, 'UTC'), route LowCardinality(String), variant LowCardinality(String),
		segment LowCardinality(String), data String CODEC(ZSTD(3))`,
		"ReplacingMergeTree", fmt.Sprintf(partitioned, "start"), "xxHash64(id)"},
	// Minutes are made of what is inserted into exchanges, by the view below.
	{"minutes", `minute DateTime('UTC') CODEC(Delta(4), ZSTD(1)), route LowCardinality(String), variant LowCardinality(String),
		snapshot LowCardinality(String), n SimpleAggregateFunction(sum, Int64), errors SimpleAggregateFunction(sum, Int64),
		canceled SimpleAggregateFunction(sum, Int64), latency_n SimpleAggregateFunction(sum, Int64),
		latency AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Float64), ttft_n SimpleAggregateFunction(sum, Int64),
		ttft AggregateFunction(quantilesDD(0.01, 0.5, 0.95, 0.99), Float64), prompt_tokens SimpleAggregateFunction(sum, Int64),
		completion_tokens SimpleAggregateFunction(sum, Int64), cost SimpleAggregateFunction(sum, Float64)`,
		"AggregatingMergeTree", "PARTITION BY toYYYYMM(minute) ORDER BY (route, variant, snapshot, minute)", "xxHash64(route, variant, snapshot)"},
}, {
	// Scores that came apart from their exchange, on its shard.
	{"scores", `time DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)), id String CODEC(ZSTD(1)), key Int64 CODEC(NONE), name LowCardinality(String),
		mark String CODEC(ZSTD(1)), value Nullable(Float64) CODEC(ZSTD(1)), data String CODEC(ZSTD(1))`,
		"ReplacingMergeTree", scored, "reinterpretAsUInt64(key)"},
	{"reasons", `time DateTime64(6, 'UTC') CODEC(Delta(8), ZSTD(1)), id String CODEC(ZSTD(1)), key Int64 CODEC(NONE), name LowCardinality(String),
		mark String CODEC(ZSTD(1)), reason String CODEC(ZSTD(3))`,
		"ReplacingMergeTree", scored, "reinterpretAsUInt64(key)"},
}}

// minutesView fills minutes, on each node from what is inserted there.
const minutesView = `CREATE MATERIALIZED VIEW IF NOT EXISTS minutes_view%[1]s TO minutes%[2]s AS SELECT toStartOfMinute(toDateTime(time, 'UTC')) AS minute,
	route, variant, snapshot, toInt64(count()) AS n, toInt64(countIf(failed)) AS errors, toInt64(countIf(error_kind = 'canceled')) AS canceled,
	toInt64(count(e.latency)) AS latency_n, quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(assumeNotNull(e.latency) * 1e6, isNotNull(e.latency)) AS latency,
	toInt64(count(e.ttft)) AS ttft_n, quantilesDDStateIf(0.01, 0.5, 0.95, 0.99)(assumeNotNull(e.ttft) * 1e6, isNotNull(e.ttft)) AS ttft,
	toInt64(sum(ifNull(e.prompt_tokens, 0))) AS prompt_tokens, toInt64(sum(ifNull(e.completion_tokens, 0))) AS completion_tokens,
	sum(ifNull(e.cost, 0.)) AS cost
	FROM exchanges%[2]s AS e GROUP BY minute, route, variant, snapshot`

// on is what a statement about tables of all nodes needs.
func (s *Store) on() string {
	if s.cluster == "" {
		return ""
	}
	return " ON CLUSTER '" + s.cluster + "'"
}

// local is what the name of a table ends with that holds rows itself.
func (s *Store) local() string {
	if s.cluster == "" {
		return ""
	}
	return "_local"
}

// create is the statements that make a table.
func (s *Store) create(t table) []string {
	engine, settings := t.engine, ""
	if s.cluster != "" {
		engine = "Replicated" + engine + "('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')"
	} else if strings.Contains(t.tail, "SETTINGS") {
		settings = ", non_replicated_deduplication_window = 1000"
	} else {
		settings = " SETTINGS non_replicated_deduplication_window = 1000"
	}
	out := []string{fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s%s%s (%s) ENGINE = %s %s%s", t.name, s.local(), s.on(), t.columns, engine, t.tail, settings)}
	if s.cluster != "" {
		out = append(out, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %[1]s%[2]s AS %[1]s_local ENGINE = Distributed('%[3]s', currentDatabase(), %[1]s_local, %[4]s)", t.name, s.on(), s.cluster, t.shard))
	}
	return out
}

// migrate makes or updates the tables.
func (s *Store) migrate(ctx context.Context, steps [][]table) error {
	versions := table{"telltale_schema", "version Int32, applied DateTime DEFAULT now()", "MergeTree", "ORDER BY version", "toUInt64(version)"}
	for _, statement := range s.create(versions) {
		if err := s.conn.exec(ctx, statement); err != nil {
			return err
		}
	}
	var has int32
	if err := s.one(ctx, `SELECT toInt32(max(version)) FROM telltale_schema`, nil, &has); err != nil {
		return err
	}
	if int(has) > len(steps) {
		return &store.SchemaError{Path: s.name, Has: int(has), Want: len(steps)}
	}
	for v := int(has); v < len(steps); v++ {
		var statements []string
		for _, t := range steps[v] {
			statements = append(statements, s.create(t)...)
		}
		if v == 0 {
			statements = append(statements, fmt.Sprintf(minutesView, s.on(), s.local()))
		}
		statements = append(statements, fmt.Sprintf("INSERT INTO telltale_schema (version) VALUES (%d)", v+1))
		for _, statement := range statements {
			if err := s.conn.exec(ctx, statement); err != nil {
				return fmt.Errorf("tables to version %d: %w", v+1, err)
			}
		}
	}
	return nil
}

// expire tells the server how long each class of data is kept: it drops what is older by itself.
func (s *Store) expire(ctx context.Context, keep config.Retention) error {
	content := keep.Content
	if keep.Exchanges > 0 && (content <= 0 || keep.Exchanges < content) {
		content = keep.Exchanges
	}
	for _, t := range []struct {
		name, column string
		age          time.Duration
	}{{"exchanges", "time", keep.Exchanges}, {"content", "time", content}, {"reasons", "time", content}, {"scores", "time", keep.Exchanges}, {"rollups", "start", keep.Rollups}, {"minutes", "minute", keep.Rollups}} {
		if t.age <= 0 {
			continue
		}
		err := s.conn.exec(ctx, fmt.Sprintf("ALTER TABLE %s%s%s MODIFY TTL toDateTime(%s) + INTERVAL %d SECOND DELETE SETTINGS materialize_ttl_after_modify = 0",
			t.name, s.local(), s.on(), t.column, int64(t.age.Seconds())))
		if err != nil {
			return fmt.Errorf("retention of %s: %w", t.name, err)
		}
	}
	return nil
}
