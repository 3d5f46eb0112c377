package gateway

import (
	"bytes"
	"context"
	"net/http"

	"github.com/telltale-llm/telltale/internal/record"
)

// mirror sends a copy of a request that has been answered to the variant of the plan's shadow. The user's answer is done;
// what becomes of the copy is seen by the tap alone.
func (c *call) mirror() {
	p := c.to.plan
	if p == nil || p.Shadow == nil || c.endpoint != generate || c.shadow || c.g.queue == nil {
		return
	}
	s := p.Shadow
	c.t.Alone = true
	v := c.route.behaviour(s.Variant)
	if v == nil || len(v.tiers[c.api]) == 0 || c.to.u >= s.Share {
		return
	}
	slot := c.route.slot
	why := ""
	switch size := int64(len(c.body)); {
	case slot.shadows.Add(1) > int64(s.Parallel):
		why = ShadowBusy
	case s.Allow != nil && !s.Allow():
		why = ShadowBudget
	case c.g.stats.body.Add(size) > c.g.o.BodyMemory:
		c.g.stats.body.Add(-size)
		why = ShadowMemory
	case !c.g.shadowing():
		c.g.stats.body.Add(-size)
		why = ShadowClosed
	}
	if why != "" {
		slot.shadows.Add(-1)
		c.g.stats.shadowDrops[why].Add(1)
		return
	}
	c.t.Alone = false
	c.g.stats.shadowed.Add(1)
	copied := &call{
		g: c.g, s: c.s, w: &nobody{header: http.Header{}}, start: c.g.o.Now(), id: newID(c.g.o.Now()),
		api: c.api, endpoint: c.endpoint, route: v, rest: c.rest, query: c.query, client: c.client,
		body: bytes.Clone(c.body), held: int64(len(c.body)), facts: c.facts, shadow: true,
	}
	copied.to = assignment{plan: p, variant: record.VariantShadow, shadows: s.Variant, propensity: 1, unit: c.to.unit}
	copied.pairs = c.id
	ctx, cancel := context.WithTimeout(c.g.life, s.Timeout)
	copied.ctx, copied.r = ctx, c.r.Clone(ctx)
	go func() {
		defer c.g.shadows.Done()
		defer slot.shadows.Add(-1)
		defer cancel()
		copied.exchange()
	}()
}

// shadowing counts one more copy under way, unless the gateway is closed.
func (g *Gateway) shadowing() bool {
	g.closing.RLock()
	defer g.closing.RUnlock()
	if g.ending {
		return false
	}
	g.shadows.Add(1)
	return true
}

// nobody takes the answers of shadows.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) Write(p []byte) (int, error) { return len(p), nil }
func (n *nobody) WriteHeader(int)             {}
func (n *nobody) FlushError() error           { return nil }
