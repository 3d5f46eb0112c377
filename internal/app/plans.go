package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/bus"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/gateway"
	"github.com/telltale-llm/telltale/internal/record"
)

// planBucket holds what every gateway does with its routes: by the route's name, the newest plan.
const planBucket = "plans"

// routePlan is a gateway's Plan as it is kept.
type routePlan struct {
	// Revision is that of the rollout's state in its bucket, which grows with every change of any rollout: an older plan never
	// replaces a newer one.
	Revision uint64      `json:"revision"`
	Route    string      `json:"route"`
	Rollout  string      `json:"rollout"`
	Stage    int         `json:"stage"`
	Unit     string      `json:"unit"`
	Salt     []byte      `json:"salt"`
	Arms     []arm       `json:"arms,omitempty"`
	Override bool        `json:"override,omitempty"`
	Shadow   *shadowPlan `json:"shadow,omitempty"`
}

type arm struct {
	Variant string  `json:"variant"`
	Weight  float64 `json:"weight"`
}

type shadowPlan struct {
	Variant   string        `json:"variant"`
	Share     float64       `json:"share"`
	Parallel  int           `json:"parallel"`
	Timeout   time.Duration `json:"timeout"`
	MaxCost   float64       `json:"max_cost,omitempty"`   // US dollars in all, for each gateway; 0 for no bound
	MaxTokens int64         `json:"max_tokens,omitempty"` // in all, for each gateway; 0 for no bound
}

// spending is what the copies for a rollout's shadow took in this process.
type spending struct {
	micros, tokens atomic.Int64 // micros are millionths of a US dollar
}

// spentBy returns the spending of a rollout.
func (s *Service) spentBy(rollout string) *spending {
	v, _ := s.spent.LoadOrStore(rollout, new(spending))
	return v.(*spending)
}

// countShadow notes what a copy took.
func (s *Service) countShadow(x *record.Exchange) {
	if x.Variant != record.VariantShadow || x.Assigned == nil {
		return
	}
	sp := s.spentBy(x.Assigned.Rollout)
	if x.Cost != nil {
		sp.micros.Add(int64(*x.Cost * 1e6))
	}
	if u := x.Usage; u != nil {
		sp.tokens.Add(int64(max(u.Total, u.Prompt+u.Completion)))
	}
}

// forGateway makes a plan ready; nil for one that assigns nothing and shadows nothing.
func (s *Service) forGateway(p *routePlan) *gateway.Plan {
	if len(p.Arms) == 0 && p.Shadow == nil {
		return nil
	}
	out := &gateway.Plan{Rollout: p.Rollout, Stage: p.Stage, Unit: p.Unit, Salt: p.Salt, Override: p.Override}
	for _, a := range p.Arms {
		out.Arms = append(out.Arms, gateway.Arm{Variant: a.Variant, Weight: a.Weight})
	}
	if sh := p.Shadow; sh != nil {
		sp := s.spentBy(p.Rollout)
		out.Shadow = &gateway.Shadow{Variant: sh.Variant, Share: sh.Share, Parallel: sh.Parallel, Timeout: sh.Timeout, Allow: func() bool {
			return (sh.MaxCost <= 0 || float64(sp.micros.Load()) < sh.MaxCost*1e6) && (sh.MaxTokens <= 0 || sp.tokens.Load() < sh.MaxTokens)
		}}
	}
	return out
}

// followPlans keeps the gateway at the newest plans for as long as the context lasts. What cannot be read changes nothing; a
// plan whose variant this process does not know leaves its route to the baseline.
func (s *Service) followPlans(ctx context.Context) {
	if !s.state.Load().server.Has(config.RoleGateway) {
		return
	}
	b, ok := await(ctx, &s.bus)
	if !ok {
		return
	}
	for ctx.Err() == nil {
		err := s.watchPlans(ctx, b)
		if ctx.Err() != nil || s.ending.Load() {
			return
		}
		s.o.Log.Error("plans of rollouts are not followed", "error", err)
		waitFor(ctx, firstRetry)
	}
}

func (s *Service) watchPlans(ctx context.Context, b *bus.Bus) error {
	bucket, err := b.Bucket(ctx, planBucket)
	if err != nil {
		return err
	}
	err = bucket.Watch(ctx, ">", func(e bus.Entry) error {
		var p routePlan
		if err := json.Unmarshal(e.Value, &p); err != nil || e.Deleted {
			s.o.Log.Error("a rollout's plan cannot be read; its route stays as it is", "key", e.Key, "error", err)
			return nil
		}
		s.plans.Store(p.Route, &p)
		s.follow(&p)
		return nil
	})
	if err == nil && ctx.Err() == nil {
		err = errors.New("the watch ended")
	}
	return err
}

// follow puts a plan in force.
func (s *Service) follow(p *routePlan) {
	if err := s.gateway.SetPlan(p.Route, s.forGateway(p)); err != nil {
		s.o.Log.Error("a rollout's plan cannot be followed; the route serves its baseline", "route", p.Route, "rollout", p.Rollout, "error", err)
		_ = s.gateway.SetPlan(p.Route, nil) // cannot fail
	}
}

// followAgain puts the newest plans in force after a reload, which may have brought the variants that they name.
func (s *Service) followAgain() {
	s.plans.Range(func(_, p any) bool { s.follow(p.(*routePlan)); return true })
}

// putPlan makes a plan the newest of its route, unless a newer one is there.
func putPlan(ctx context.Context, bucket *bus.Bucket, p *routePlan) error {
	key := keyOf(p.Route)
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	for range 10 {
		var revision uint64
		e, err := bucket.Get(ctx, key)
		switch {
		case errors.Is(err, bus.ErrNotFound):
		case err != nil:
			return err
		default:
			var there routePlan
			if json.Unmarshal(e.Value, &there) == nil && there.Revision >= p.Revision {
				return nil
			}
			revision = e.Revision
		}
		_, err = bucket.CompareAndSet(ctx, key, value, revision)
		if !errors.Is(err, bus.ErrConflict) {
			return err
		}
	}
	return fmt.Errorf("the plan of route %s keeps changing", p.Route)
}
