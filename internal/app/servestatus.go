package app

import (
	"context"
	"errors"
	"time"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/pipeline"
)

// status is what the API tells of the server.
func (s *Service) status() api.Status {
	server := s.state.Load().server
	seen := s.gateway.Stats()
	out := api.Status{Version: Version, Started: s.started.UTC(), Config: server.Hash, Roles: server.Roles, Routes: []api.RouteStatus{}}
	if why := s.reloadError.Load(); why != nil {
		out.ReloadError = *why
	}
	out.Capture = api.CaptureStatus{Seen: seen.Routed, Stored: s.stored.gateway.Load(), Dropped: map[string]int64{}}
	for _, r := range s.capture.Stats() {
		out.Capture.Captured += r.Captured
		for why, n := range r.Reasons {
			if why != pipeline.RedactionFailed { // such an exchange is captured without its text
				out.Capture.Dropped[string(why)] += n
			}
		}
	}
	for why, n := range seen.Dropped {
		if n > 0 && why != gateway.DropMemory { // captured without its content
			out.Capture.Dropped[string(why)] += n
		}
	}
	out.Shadow = map[string]int64{"sent": seen.Shadowed}
	for why, n := range seen.ShadowDrops {
		out.Shadow["dropped_"+why] = n
	}
	out.Bus, out.Store = s.busStatus(), s.storeStatus()
	for i := range server.Routes {
		r := &server.Routes[i]
		n := seen.Routes[r.Name]
		row := api.RouteStatus{Name: r.Name, Path: r.Path, Models: r.Models, Numbers: map[string]int64{"requests": n.Requests, "in_flight": n.InFlight, "retries": n.Retries, "fallbacks": n.Fallbacks}}
		for kind, k := range n.Failed {
			row.Numbers["failed_"+string(kind)] = k
		}
		for j := range r.Upstreams {
			u := &r.Upstreams[j]
			row.Upstreams = append(row.Upstreams, upstreamStatus(u.Name, u.URL, n.Upstreams[u.Name]))
		}
		out.Routes = append(out.Routes, row)
	}
	return out
}

func (s *Service) busStatus() api.PartStatus {
	out := api.PartStatus{Kind: "embedded"}
	if s.state.Load().server.Bus.URL != "" {
		out.Kind = "nats"
	}
	b, err := s.bus.get()
	if errors.Is(err, errNoRole) {
		return api.PartStatus{Kind: "none", OK: true}
	}
	if err != nil {
		out.Error = err.Error()
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	h := b.Health(ctx)
	out.OK, out.Error = h.OK, h.Err
	out.Numbers = map[string]int64{}
	if p := s.publish.p.Load(); p != nil {
		n := p.Stats()
		out.Numbers["published"], out.Numbers["waiting"], out.Numbers["waiting_bytes"] = n.Published, n.Pending, n.PendingBytes
		for why, k := range n.Dropped {
			out.Numbers["dropped_"+string(why)] = k
		}
	}
	if n, err := b.Backlog(ctx, exchangeStream, storeConsumer); err == nil {
		out.Numbers["pending_frames"] = int64(n) //nolint:gosec // far from 2^63
	} else if out.OK {
		out.OK, out.Error = false, err.Error()
	}
	for _, c := range b.Consumers() {
		out.Numbers["consumed"] += c.Records
		out.Numbers["lost"] += c.LostRecords
		out.Numbers["dead_frames"] += c.Dead
		out.Numbers["failures"] += c.Failures
	}
	return out
}

func (s *Service) storeStatus() api.PartStatus {
	out := api.PartStatus{Kind: "duckdb"}
	if s.state.Load().server.Store.URL != "" {
		out.Kind = "clickhouse"
	}
	st, err := s.store.get()
	if errors.Is(err, errNoRole) {
		return api.PartStatus{Kind: "none", OK: true}
	}
	if why := s.storeHeld.Load(); err == nil && why != nil {
		err = *why
	}
	if err != nil {
		out.Error = err.Error()
		return out
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	n, err := st.Stats(ctx)
	if err != nil {
		out.Error = err.Error()
		return out
	}
	out.OK = true
	out.Numbers = map[string]int64{"exchanges": n.Exchanges, "content": n.Content, "bytes": n.Bytes, "rollups": n.Rollups, "snapshots": n.Snapshots}
	if !n.Newest.IsZero() {
		out.Numbers["newest_age_s"] = int64(time.Since(n.Newest).Seconds())
	}
	return out
}

func upstreamStatus(name, url string, n gateway.UpstreamStats) api.UpstreamStatus {
	return api.UpstreamStatus{Name: name, URL: url, Healthy: !n.Resting, Numbers: map[string]int64{"attempts": n.Attempts, "failures": n.Failures, "in_flight": n.InFlight, "ejected": n.Ejected}}
}
