package rollout

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/telltale-llm/telltale/internal/stats"
)

// units remembers which units, sessions or users, have been observed, so that each counts once in a stage, and which arm
// they were on in the stage before: a unit that was on the baseline at weight w and is seen again at weight v is now on the
// candidate with probability (v − w)/(1 − w), and one that was on the candidate is there for certain.
//
// It is bounded. When it is full, half of the units are left out from then on, by their hash: what is lost is evidence. No
// unit is forgotten and counted twice. Units are told apart by 32 bits of their hash; two that share these are taken for
// one, which loses the second's.
type units struct {
	at   map[uint32]unit
	most int
	// keep is the number of low bits of a hash that must be zero.
	keep int
}

type unit struct {
	counted uint32 // signals, by bit, that have counted it in its stage
	stage   uint8
	before  uint8     // the stage before in which it was seen, on the baseline; noStage for none
	arm     stats.Arm // in an experiment the arm's number
}

const (
	noStage  = 255
	mostArms = 8 // of an experiment

	mostSeen = 2 * 8192 // units of which the first outcome counts; twice config.MaxUnitSamples
	mostHits = 4096     // units that had a rare event
)

func newUnits(most int) units { return units{at: map[uint32]unit{}, most: most} }

// hashOf reads a unit's hash; ok is false for what is none.
func hashOf(text string) (h uint32, ok bool) {
	if len(text) != 16 {
		return 0, false
	}
	v, err := strconv.ParseUint(text, 16, 64)
	return uint32(v ^ v>>32), err == nil
}

func (u *units) left(h uint32) bool { return h&(1<<u.keep-1) == 0 }

// find returns the unit as it is in that stage on that arm, and false when it cannot count there: it was left out, was on
// the candidate in an earlier stage, has been seen in a later one, or cannot be on that arm.
func (u *units) find(h uint32, stage int, arm stats.Arm) (unit, bool) {
	if !u.left(h) {
		return unit{}, false
	}
	was, seen := u.at[h]
	switch {
	case !seen:
		if len(u.at) >= u.most {
			u.halve()
			if !u.left(h) {
				return unit{}, false
			}
		}
		return unit{stage: uint8(stage), before: noStage, arm: arm}, true
	case int(was.stage) == stage:
		return was, was.arm == arm
	case int(was.stage) > stage || was.arm == stats.Canary:
		return unit{}, false
	}
	return unit{stage: uint8(stage), before: was.stage, arm: arm}, true
}

// count notes that a signal has counted the unit.
func (u *units) count(h uint32, one unit, signal int) {
	one.counted |= 1 << signal
	u.at[h] = one
}

func (o unit) has(signal int) bool { return o.counted&(1<<signal) != 0 }

func (u *units) halve() {
	for len(u.at) > u.most/2 && u.keep < 31 {
		u.keep++
		for h := range u.at {
			if !u.left(h) {
				delete(u.at, h)
			}
		}
	}
}

type unitsState struct {
	Most int    `json:"most"`
	Keep int    `json:"keep,omitempty"`
	At   string `json:"at,omitempty"`
}

const unitBytes = 11

// MarshalJSON writes the units in the order of their hashes.
func (u units) MarshalJSON() ([]byte, error) {
	keys := make([]uint32, 0, len(u.at))
	for h := range u.at {
		keys = append(keys, h)
	}
	slices.Sort(keys)
	b := make([]byte, 0, unitBytes*len(keys))
	for _, h := range keys {
		one := u.at[h]
		b = binary.BigEndian.AppendUint32(b, h)
		b = binary.BigEndian.AppendUint32(b, one.counted)
		b = append(b, one.stage, one.before, byte(one.arm))
	}
	return json.Marshal(unitsState{u.most, u.keep, base64.StdEncoding.EncodeToString(b)})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (u *units) UnmarshalJSON(data []byte) error {
	var s unitsState
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(s.At)
	if err != nil {
		return fmt.Errorf("units: %w", err)
	}
	if len(b)%unitBytes != 0 || s.Most < 0 || s.Most > mostSeen || len(b)/unitBytes > s.Most || s.Keep < 0 || s.Keep > 31 {
		return errors.New("units: not a state of them")
	}
	*u = units{at: make(map[uint32]unit, len(b)/unitBytes), most: s.Most, keep: s.Keep}
	for ; len(b) > 0; b = b[unitBytes:] {
		one := unit{binary.BigEndian.Uint32(b[4:]), b[8], b[9], stats.Arm(b[10])}
		if one.arm >= mostArms {
			return fmt.Errorf("units: arm %d", one.arm)
		}
		u.at[binary.BigEndian.Uint32(b)] = one
	}
	return nil
}
