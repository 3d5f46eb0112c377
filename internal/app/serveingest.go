package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/otlp"
	"github.com/telltale-llm/telltale/internal/pipeline"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/wiretap"
)

// busyFor is how long a client is told to wait when the bus takes nothing.
const busyFor = 5 * time.Second

// take redacts exchanges, publishes them and returns once they are durable.
func (s *Service) take(ctx context.Context, xs []record.Exchange) error {
	p := s.publish.p.Load()
	if p == nil {
		return s.noBus()
	}
	var all []pipeline.Prepared
	for i := range xs {
		if a := xs[i].Assigned; a != nil { // as it is in exports
			a.Elsewhere = true
		}
		prepared, why := s.capture.Prepare(ctx, &xs[i], takenSnapshot)
		if all = append(all, prepared...); why != "" {
			s.capture.Unsent(all)
			return fmt.Errorf("exchange %s: %s", xs[i].ID, why)
		}
	}
	if err := putAll(ctx, p, all); err != nil {
		s.capture.Unsent(all)
		return err
	}
	for i := range xs {
		s.metrics.exchanges.Observe(&xs[i])
	}
	return nil
}

// takenSnapshot is the snapshot of an exchange that did not come over the gateway. One that says which it has keeps it, and where
// that can be made again from what the exchange says, which its id proves, it is stored too: so an exchange that was exported
// with its content can be replayed where it is imported.
func takenSnapshot(x *record.Exchange) record.Snapshot {
	if !record.IsSnapshotID(x.Snapshot) {
		return wiretap.Snapshot(x, x.Upstream, "", "")
	}
	guard := ""
	if x.Guard != nil {
		guard = x.Guard.ID
	}
	for _, host := range []string{x.Provider, x.Upstream} {
		for _, model := range []string{"", x.Served} {
			if s := wiretap.Snapshot(x, host, model, guard); s.ID == x.Snapshot {
				return s
			}
		}
	}
	return record.Snapshot{}
}

// takeScores redacts scores that came apart from their exchanges, publishes them and returns once they are durable.
func (s *Service) takeScores(ctx context.Context, route string, ls []record.Late) error {
	p := s.publish.p.Load()
	if p == nil {
		return s.noBus()
	}
	all := make([]pipeline.Prepared, len(ls))
	for i := range ls {
		var why pipeline.Reason
		if all[i], why = s.capture.PrepareLate(ctx, route, ls[i]); why != "" {
			return fmt.Errorf("score %s of exchange %s: %s", ls[i].Score.Name, ls[i].Exchange, why)
		}
	}
	return putAll(ctx, p, all)
}

// noBus says that nothing can be taken.
func (s *Service) noBus() error {
	_, err := s.bus.get()
	if err == nil {
		err = errOpening
	}
	return &otlp.Busy{RetryAfter: busyFor, Down: true, Reason: "the bus is not available: " + err.Error()}
}

// putAll returns once the bus has made all durable.
func putAll(ctx context.Context, p *bus.Publisher, all []pipeline.Prepared) error {
	items := make([]bus.Item, len(all))
	for i, one := range all {
		items[i] = bus.Item{ID: one.ID, Data: one.Data}
	}
	err := p.Put(ctx, items)
	if dropped, ok := errors.AsType[*bus.DropError](err); ok {
		return &otlp.Busy{RetryAfter: busyFor, Down: dropped.Reason == bus.Down || dropped.Reason == bus.DiskFull, Reason: dropped.Error()}
	}
	return err
}
