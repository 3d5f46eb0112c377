package privacy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"math"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// Sampler decides whose content is kept. It is safe for concurrent use.
//
// A unit (a user, a session or a request) is kept when the HMAC of its name, read as a number in [0,1), lies below
// the share that the route keeps: the same key keeps the same units in every process and at every share above.
//
// Exchanges that failed, were refused, were flagged or come from another variant than the baseline have a second
// chance q, by the HMAC of their own id, so that the probability of keeping one is
//
//	inclusion = 1 − (1 − share)(1 − q).
//
// q depends on nothing but how many such exchanges came before in this minute and the last one, so it is known before
// the draw and an estimate that weights each kept exchange by 1/inclusion (Horvitz and Thompson, 1952) is unbiased.
// A hard stop at the cap would not be: what comes after it would have no chance at all. So with N such exchanges in the
// minute before and a cap C a minute, let M = max(0.8·C, N) and a = 0.8·C/M; the n-th one has
//
//	q = a                for n ≤ M
//	q = a/4·(M/n)²       for n > M.
//
// The sum of q over a minute is then at most 0.8·C + a·M/4 = C however many there are: the cap holds for the expected
// number, and as long as fewer than 0.8·C come, in this minute and the last, each of them is kept.
type Sampler struct {
	cfg  config.Capture
	hash sync.Pool

	mu     sync.Mutex
	minute int64
	seen   int // such exchanges in this minute
	before int // and in the one before
}

// NewSampler returns a Sampler. Without a key units are drawn alike on every server, and by anyone who knows their names.
func NewSampler(key []byte, cfg config.Capture) *Sampler {
	s := &Sampler{cfg: cfg}
	s.hash.New = func() any { return hmac.New(sha256.New, key) }
	return s
}

// sure is the part of the cap up to which every such exchange is kept, and late the factor of those that come after
// as many as in the minute before.
const (
	sure = .8
	late = .25
)

// Keep says whether x's content is kept, and the probability with which that was. It may be called before redaction or
// after it, but always at the same point; after it, users and sessions must be pseudonyms or be kept, for masked ones
// are all one unit. Without a user or a session what is sampled is the next smaller unit.
//
// An exchange of a rollout's that only its second chance has kept is marked as picked: whether that happens depends on its
// variant and its outcome, so that scores of its content are no evidence.
func (s *Sampler) Keep(x *record.Exchange) (keep bool, inclusion float64) {
	share := min(max(s.cfg.Content, 0), 1)
	if math.IsNaN(share) {
		share = 0
	}
	keep = share >= 1 || share > 0 && s.draw("unit", s.unit(x)) < share
	if share >= 1 || !s.cfg.Errors || s.cfg.MaxErrors <= 0 || !special(x) {
		return keep, share
	}
	q := s.chance(time.Now())
	if !keep && s.draw("exchange", x.ID) < q {
		keep = true
		if x.Assigned != nil {
			x.Assigned.Picked = true
		}
	}
	return keep, 1 - (1-share)*(1-q)
}

// special says whether an exchange is one of those that are looked at first.
func special(x *record.Exchange) bool {
	if x.Failed() || x.Refused || x.FinishReason == "content_filter" || x.FinishReason == "refusal" || x.Variant != "" && x.Variant != "baseline" {
		return true
	}
	for i := range x.Scores {
		if p := x.Scores[i].Pass; p != nil && !*p {
			return true
		}
	}
	return false
}

func (s *Sampler) unit(x *record.Exchange) string {
	switch s.cfg.Unit {
	case "user":
		if x.User != "" {
			return "user\x00" + x.User
		}
		fallthrough
	case "session":
		if x.Session != "" {
			return "session\x00" + x.Session
		}
	}
	if a := x.Assigned; a != nil && a.Pairs != "" {
		return "request\x00" + a.Pairs // a copy goes with its original, for the two are compared
	}
	return "request\x00" + x.ID
}

// draw is a number in [0,1) that only the key and the name decide.
func (s *Sampler) draw(what, name string) float64 {
	h := s.hash.Get().(hash.Hash)
	h.Reset()
	h.Write([]byte("telltale sample\x00" + what + "\x00" + name))
	var sum [sha256.Size]byte
	v := binary.BigEndian.Uint64(h.Sum(sum[:0]))
	s.hash.Put(h)
	return float64(v>>11) / (1 << 53)
}

// chance counts a special exchange and returns its q.
func (s *Sampler) chance(now time.Time) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := now.Unix() / 60; m != s.minute {
		if s.before = s.seen; m != s.minute+1 {
			s.before = 0
		}
		s.minute, s.seen = m, 0
	}
	s.seen++
	surely := sure * float64(s.cfg.MaxErrors)
	most := max(surely, float64(s.before))
	q := surely / most
	if n := float64(s.seen); n > most {
		q *= late * (most / n) * (most / n)
	}
	return q
}
