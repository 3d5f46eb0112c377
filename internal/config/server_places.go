package config

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

type wireBus struct {
	Pos      Pos      `json:"-"`
	URL      wireText `json:"url,omitempty" jsonschema:"description=nats://HOST:PORT of a cluster; several with commas"`
	Creds    wireText `json:"creds,omitempty" jsonschema:"description=NATS credentials file"`
	Replicas *int     `json:"replicas,omitempty" jsonschema:"minimum=1,maximum=5,description=Copies of each record in a cluster; 3"`
	MaxBytes size     `json:"max_bytes,omitempty" jsonschema:"description=Disk that records may take before they are stored; 10GiB"`
	MaxAge   duration `json:"max_age,omitempty" jsonschema:"description=How long records wait at most; 72h"`
	Full     string   `json:"full,omitempty" jsonschema:"enum=drop-oldest,enum=refuse,description=What happens when it is full; drop-oldest"`
}

type wireStoreWhere struct {
	Pos     Pos      `json:"-"`
	URL     wireText `json:"url,omitempty" jsonschema:"description=clickhouse://USER@HOST:PORT/DATABASE"`
	Cluster string   `json:"cluster,omitempty" jsonschema:"description=ClickHouse cluster over which tables are replicated and distributed"`
	Memory  string   `json:"memory,omitempty" jsonschema:"description=Memory limit of DuckDB; 1GB"`
	Threads *int     `json:"threads,omitempty" jsonschema:"minimum=1,description=Threads of DuckDB; 2"`
}

func (l *serverLoader) bus(w *wireBus) BusConfig {
	out := BusConfig{MaxBytes: 10 << 30, MaxAge: 72 * time.Hour, Full: "drop-oldest", Replicas: 1}
	if w == nil {
		return out
	}
	out.Pos, out.URL, out.Creds = w.Pos, w.URL.Text, l.file(w.Creds, "")
	if out.URL != "" {
		out.Replicas = 3
		for one := range strings.SplitSeq(out.URL, ",") {
			if u, err := url.Parse(strings.TrimSpace(one)); err != nil || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) || u.Host == "" || u.User != nil {
				l.fail(w.URL.Pos, "", "not the address of a NATS server", "nats://HOST:PORT; credentials go into creds")
			}
		}
	}
	if out.Creds != "" && out.URL == "" {
		l.fail(w.Creds.Pos, w.Creds.Text, "an embedded bus asks for no credentials", "the url of a cluster too")
	}
	if w.Replicas != nil {
		out.Replicas = l.least(w.Pos.At("replicas"), *w.Replicas, 1)
		if out.URL == "" && out.Replicas > 1 {
			l.fail(w.Pos.At("replicas"), strconv.Itoa(out.Replicas), "an embedded bus has one copy", "replicas: 1, or the url of a cluster")
		}
	}
	if w.MaxBytes > 0 {
		out.MaxBytes = int64(w.MaxBytes)
	}
	if w.MaxAge > 0 {
		out.MaxAge = time.Duration(float64(w.MaxAge) * float64(time.Second))
	}
	if w.Full != "" {
		out.Full = l.choice(w.Pos.At("full"), w.Full, "drop-oldest", "refuse")
	}
	return out
}

func (l *serverLoader) store(w *wireStoreWhere) StoreConfig {
	out := StoreConfig{Memory: "1GB", Threads: 2}
	if w == nil {
		return out
	}
	out.Pos, out.URL, out.Cluster = w.Pos, w.URL.Text, w.Cluster
	if out.URL != "" {
		if u, err := url.Parse(out.URL); err != nil || u.Scheme != "clickhouse" || u.Host == "" {
			l.fail(w.URL.Pos, "", "not the address of a ClickHouse server", "clickhouse://USER@HOST:PORT/DATABASE")
		} else if password, ok := u.User.Password(); ok {
			l.secrets = append(l.secrets, password)
		}
	} else if out.Cluster != "" {
		l.fail(w.Pos.At("cluster"), out.Cluster, "DuckDB has no cluster", "the url of a ClickHouse server too")
	}
	if w.Memory != "" {
		if _, err := ParseSize(w.Memory); err != nil {
			l.fail(w.Pos.At("memory"), w.Memory, "not a size", "such as 1GB")
		}
		out.Memory = w.Memory
	}
	if w.Threads != nil {
		out.Threads = l.least(w.Pos.At("threads"), *w.Threads, 1)
	}
	return out
}
