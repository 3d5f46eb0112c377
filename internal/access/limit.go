package access

import (
	"math"
	"slices"
	"sync"
	"time"
)

// Client is who a key belongs to. It stays valid after a reload, with what it knew then.
type Client struct {
	entry Entry
	meter *meter
}

// Name is the key's name.
func (c *Client) Name() string { return c.entry.Name }

// Scoped says whether the key names a route or scope itself: a key for every route does not name the API.
func (c *Client) Scoped(name string) bool { return slices.Contains(c.entry.Routes, name) }

// Allows says whether the key may use a route.
func (c *Client) Allows(route string) bool {
	return len(c.entry.Routes) == 0 || slices.Contains(c.entry.Routes, route)
}

// Budgeted says whether the key has a budget of money.
func (c *Client) Budgeted() bool { return c.entry.Budget > 0 }

// meter counts what a client uses. Requests and tokens are buckets: full at a minute's worth, filled evenly.
type meter struct {
	mu       sync.Mutex
	requests bucket
	tokens   bucket
	day      int64 // days since 1970, UTC
	spent    float64
}

type bucket struct {
	level float64
	at    time.Time // zero before the first use: full
}

// fill brings the bucket to now.
func (b *bucket) fill(now time.Time, perMinute float64) {
	full := max(1, perMinute)
	if b.at.IsZero() {
		b.level = full
	} else if d := now.Sub(b.at); d > 0 {
		b.level += d.Minutes() * perMinute
	}
	b.level = min(b.level, full)
	b.at = now
}

// until is how long the bucket takes to hold n.
func (b *bucket) until(n, perMinute float64) time.Duration {
	return time.Duration((n - b.level) / perMinute * float64(time.Minute))
}

// Admit counts a request, or refuses it and says how long to wait. What a request costs in tokens and money is known
// only afterwards, so that one may run over its limit; the next one waits until that is made good.
func (c *Client) Admit(now time.Time) (wait time.Duration, err error) {
	e, m := &c.entry, c.meter
	if e.Requests == 0 && e.Tokens == 0 && e.Budget == 0 {
		return 0, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	if e.Budget > 0 && m.spent >= e.Budget {
		return time.Unix((m.day+1)*secondsOfDay, 0).Sub(now), ErrBudget
	}
	if e.Tokens > 0 {
		m.tokens.fill(now, e.Tokens)
		if m.tokens.level <= 0 {
			return m.tokens.until(1, e.Tokens), ErrTokens
		}
	}
	if e.Requests > 0 {
		m.requests.fill(now, e.Requests)
		if m.requests.level < 1 {
			return m.requests.until(1, e.Requests), ErrRate
		}
		m.requests.level--
	}
	return 0, nil
}

const secondsOfDay = 24 * 60 * 60

// turn begins a new day's account.
func (m *meter) turn(now time.Time) {
	if day := now.Unix() / secondsOfDay; day != m.day {
		m.day, m.spent = day, 0
	}
}

func (c *Client) use(now time.Time, tokens, usd float64) {
	m := c.meter
	m.mu.Lock()
	defer m.mu.Unlock()
	m.turn(now)
	if usd > 0 && !math.IsInf(usd, 0) {
		m.spent += usd
	}
	if c.entry.Tokens > 0 && tokens > 0 {
		m.tokens.fill(now, c.entry.Tokens)
		m.tokens.level -= tokens
	}
}

// Spent returns what the client has spent today in US dollars.
func (c *Client) Spent(now time.Time) float64 {
	c.meter.mu.Lock()
	defer c.meter.mu.Unlock()
	c.meter.turn(now)
	return c.meter.spent
}
