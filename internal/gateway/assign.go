package gateway

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
)

// Plan says which variant of a route answers which requests.
type Plan struct {
	// Rollout and Stage go into each exchange that was assigned.
	Rollout string
	Stage   int
	// Unit is what is assigned as one: request, session or user. A request without the header of its unit is one of its own.
	Unit string
	// Salt keys the choice: the same unit gets the same place in every plan of one salt.
	Salt []byte
	// Arms are the variants besides the baseline, which gets what they leave. Their weights are probabilities.
	Arms []Arm
	// Override lets testers choose with the header telltale-variant. Such exchanges are no evidence.
	Override bool
	Shadow   *Shadow
}

// Arm is a variant and the share of the units that it answers.
type Arm struct {
	Variant string
	Weight  float64
}

// Shadow sends copies of requests to a variant whose answers nobody gets.
type Shadow struct {
	Variant string
	Share   float64 // of the requests that are answered by the baseline, by the unit of the plan
	// Parallel bounds the copies under way, Timeout each of them. More are dropped and counted.
	Parallel int
	Timeout  time.Duration
	// Allow says whether there is budget for another; nil allows all. It must not block.
	Allow func() bool
}

// Why a copy for a shadow was not sent. Used as labels.
const (
	ShadowBusy   = "busy"   // Parallel are under way
	ShadowBudget = "budget" // Shadow.Allow says no
	ShadowMemory = "memory" // too many bytes of requests are in memory
	ShadowClosed = "closed"
)

// ShadowDrops lists the reasons.
func ShadowDrops() []string { return []string{ShadowBusy, ShadowBudget, ShadowMemory, ShadowClosed} }

func (p *Plan) validate() error {
	sum := 0.
	for _, a := range p.Arms {
		if !(a.Weight >= 0 && a.Weight <= 1) {
			return fmt.Errorf("gateway: weight %v of variant %s: want 0 to 1", a.Weight, a.Variant)
		}
		sum += a.Weight
	}
	switch {
	case sum > 1+1e-9:
		return fmt.Errorf("gateway: the weights add up to %v, more than 1", sum)
	case p.Unit != "request" && p.Unit != "session" && p.Unit != "user":
		return fmt.Errorf("gateway: unit %q: want request, session or user", p.Unit)
	case len(p.Salt) == 0:
		return errors.New("gateway: a plan without salt")
	}
	if s := p.Shadow; s != nil && (!(s.Share >= 0 && s.Share <= 1) || s.Parallel < 1 || s.Timeout <= 0) {
		return fmt.Errorf("gateway: shadow of share %v, %d at a time, %v each: want a share from 0 to 1, at least 1 and a time", s.Share, s.Parallel, s.Timeout)
	}
	return nil
}

// slot holds what outlives a reload: the plan of a route.
type slot struct {
	plan    atomic.Pointer[Plan]
	shadows atomic.Int64 // copies under way
}

// slotOf returns the slot of a route's name.
func (g *Gateway) slotOf(route string) *slot {
	v, _ := g.slots.LoadOrStore(route, new(slot))
	return v.(*slot)
}

// SetPlan puts a plan in force for the requests that arrive from now on; nil is the baseline for all. Variants that the
// route does not have are refused. After a reload that takes a variant away its units get the baseline, which is counted.
func (g *Gateway) SetPlan(route string, p *Plan) error {
	r := g.state.Load().named(route)
	if p == nil {
		g.slotOf(route).plan.Store(nil)
		return nil
	}
	if r == nil {
		return fmt.Errorf("gateway: no route %s", route)
	}
	if err := p.validate(); err != nil {
		return err
	}
	names := make([]string, 0, len(p.Arms)+1)
	for _, a := range p.Arms {
		names = append(names, a.Variant)
	}
	if p.Shadow != nil {
		names = append(names, p.Shadow.Variant)
	}
	for _, n := range names {
		if r.behaviour(n) == nil {
			return fmt.Errorf("gateway: route %s has no variant %s", route, n)
		}
	}
	g.slotOf(route).plan.Store(p)
	return nil
}

// PlanOf returns the plan in force, nil for none.
func (g *Gateway) PlanOf(route string) *Plan { return g.slotOf(route).plan.Load() }

func (s *state) named(route string) *route {
	for _, r := range s.routes {
		if r.name == route {
			return r
		}
	}
	return nil
}

// behaviour returns the baseline or a variant of a route, whichever of them r is; nil where there is none of the name.
func (r *route) behaviour(name string) *route {
	if name == config.Baseline {
		return r.home
	}
	return r.home.variants[name]
}

// assignment is what a plan makes of a request.
type assignment struct {
	plan       *Plan
	variant    string
	shadows    string // the variant that a shadow shows
	propensity float64
	unit       string // hash of the unit; empty where nothing was assigned
	u          float64
}

// assign chooses the variant. It changes c.route to it.
func (c *call) assign() {
	c.to = assignment{variant: config.Baseline, propensity: 1}
	p := c.route.slot.plan.Load()
	if p == nil || c.endpoint == unknown {
		return
	}
	if p.Override {
		if name := c.r.Header.Get("Telltale-Variant"); name != "" {
			if c.use(name) {
				return
			}
			c.g.stats.unassigned.Add(1)
		}
	}
	sum := hash(p.Salt, c.unit(p.Unit))
	// 53 bits, which a float64 holds exactly.
	c.to.plan, c.to.u = p, float64(binary.BigEndian.Uint64(sum[:8])>>11)/(1<<53)
	c.to.unit = hex.EncodeToString(sum[8:16])
	rest, from, drawn, counts := 1., 0., config.Baseline, true
	for _, a := range p.Arms {
		if from <= c.to.u && c.to.u < from+a.Weight {
			drawn, c.to.propensity = a.Variant, a.Weight
		}
		from += a.Weight
		rest -= a.Weight
		counts = counts && (a.Weight == 0 || c.able(a.Variant))
	}
	if drawn == config.Baseline {
		c.to.propensity = max(0, rest)
	}
	// A reload may have taken a variant away, or it does not speak the request's API. Then the request is no evidence, whichever arm it
	// falls on: with one arm's requests left out, events of the others alone would speak for it.
	if counts = counts && (rest < 1e-9 || c.able(config.Baseline)); !counts {
		c.g.stats.unassigned.Add(1)
		c.to.plan, c.to.unit, c.to.propensity = nil, "", 1
	}
	c.use(drawn)
}

// able says whether a variant can answer the request.
func (c *call) able(name string) bool {
	v := c.route.behaviour(name)
	return v != nil && len(v.tiers[c.api]) > 0
}

// use makes a variant answer.
func (c *call) use(name string) bool {
	if name == config.Baseline {
		return true
	}
	if !c.able(name) {
		return false
	}
	c.to.variant, c.route = name, c.route.behaviour(name)
	return true
}

// unit is what is assigned as one.
func (c *call) unit(kind string) string {
	var v string
	switch kind {
	case "session":
		v = c.r.Header.Get("Telltale-Session")
	case "user":
		v = c.r.Header.Get("Telltale-User")
	}
	if v == "" {
		return "r\x00" + c.id
	}
	return kind[:1] + "\x00" + v
}

func hash(key []byte, text string) [sha256.Size]byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	var out [sha256.Size]byte
	h.Sum(out[:0])
	return out
}
