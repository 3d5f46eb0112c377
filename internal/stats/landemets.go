package stats

import (
	"encoding/json"
	"fmt"
)

// OBrienFleming returns the one-sided bounds of looks at these information fractions, from above 0 to 1 and rising,
// when alpha is spent by SpentOBrienFleming: look k rejects when its z is at least bounds[k]. ok is false when
// the fractions or alpha are not such.
func OBrienFleming(fractions []float64, alphaOneSided float64) (bounds []float64, ok bool) {
	if !(alphaOneSided > 0 && alphaOneSided < 1) {
		return nil, false
	}
	spent := make([]float64, len(fractions))
	before := 0.0
	for k, t := range fractions {
		if !(t > before && t <= 1) {
			return nil, false
		}
		spent[k], before = SpentOBrienFleming(alphaOneSided, t), t
	}
	return SpendingBounds(spent, fractions)
}

// MaxLooks is the most looks that a GroupSequential takes.
const MaxLooks = 100

// GroupSequential is OBrienFleming for looks whose information is known only when they are taken. The number of looks
// and their times need not be planned, as long as they do not depend on the results (Lan and DeMets 1983); the most
// information must be. It suits nightly runs with a fixed end; live traffic is for the e-processes. The state grows
// by one number a look, up to MaxLooks. A GroupSequential is not safe for concurrent use.
type GroupSequential struct {
	alpha     float64
	fractions []float64
	rejected  int // the number of the look that rejected, 0 for none
}

// LookResult is what one look says.
type LookResult struct {
	// Bound is what z must reach.
	Bound float64
	// Spent is the part of alpha that all looks so far have used.
	Spent float64
	// Rejects says whether this look or an earlier one rejects.
	Rejects bool
}

const groupKind = "group-sequential test"

// NewGroupSequential returns a one-sided test at that alpha that has not looked yet.
func NewGroupSequential(alphaOneSided float64) (*GroupSequential, error) {
	if !(alphaOneSided > 0 && alphaOneSided < 1) {
		return nil, fmt.Errorf("alpha is %v, it must be between 0 and 1", alphaOneSided)
	}
	return &GroupSequential{alpha: alphaOneSided}, nil
}

// Look takes a look at a fraction of the planned information, above that of the look before and at most 1, with the
// statistic z, standard normal without an effect. What cannot be is an error, and spends nothing.
func (g *GroupSequential) Look(fraction, z float64) (LookResult, error) {
	if !(g.alpha > 0) {
		return LookResult{}, errUnmade
	}
	if !Finite(z) {
		return LookResult{}, fmt.Errorf("the statistic is %v, it must be a finite number", z)
	}
	if len(g.fractions) == MaxLooks {
		return LookResult{}, fmt.Errorf("this would be look %d, there can be %d", MaxLooks+1, MaxLooks)
	}
	next := append(append([]float64(nil), g.fractions...), fraction)
	bounds, ok := OBrienFleming(next, g.alpha)
	if !ok {
		return LookResult{}, fmt.Errorf("a look at fraction %v of the information after %v, it must be above that and at most 1", fraction, g.fractions)
	}
	g.fractions = next
	bound := bounds[len(bounds)-1]
	if g.rejected == 0 && z >= bound {
		g.rejected = len(next)
	}
	return LookResult{Bound: bound, Spent: g.Spent(), Rejects: g.rejected > 0}, nil
}

// Spent is the part of alpha used so far.
func (g *GroupSequential) Spent() float64 {
	if len(g.fractions) == 0 {
		return 0
	}
	return SpentOBrienFleming(g.alpha, g.fractions[len(g.fractions)-1])
}

// Looks is the number of looks taken.
func (g *GroupSequential) Looks() int { return len(g.fractions) }

type groupState struct {
	Kind      string    `json:"kind"`
	Alpha     float64   `json:"alpha"`
	Fractions []float64 `json:"fractions"`
	Rejected  int       `json:"rejected"`
}

// MarshalJSON returns the state.
func (g *GroupSequential) MarshalJSON() ([]byte, error) {
	return json.Marshal(groupState{groupKind, g.alpha, g.fractions, g.rejected})
}

// UnmarshalJSON takes up a state that MarshalJSON wrote, and refuses any other.
func (g *GroupSequential) UnmarshalJSON(data []byte) error {
	var s groupState
	if err := decodeState(data, groupKind, &s); err != nil {
		return err
	}
	if s.Kind != groupKind {
		return badState(groupKind, "the kind", s.Kind)
	}
	if !(s.Alpha > 0 && s.Alpha < 1) {
		return badState(groupKind, "alpha", s.Alpha)
	}
	before := 0.0
	for _, t := range s.Fractions {
		if !(t > before && t <= 1) {
			return badState(groupKind, "a fraction", t)
		}
		before = t
	}
	if len(s.Fractions) > MaxLooks || s.Rejected < 0 || s.Rejected > len(s.Fractions) {
		return badState(groupKind, "the looks", len(s.Fractions))
	}
	*g = GroupSequential{s.Alpha, s.Fractions, s.Rejected}
	return nil
}
