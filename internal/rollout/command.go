package rollout

import (
	"fmt"
	"strings"
	"time"
)

// Command is what a person asks of a rollout.
type Command struct {
	Kind CommandKind `json:"kind"`
	// By is who asks, Why the reason. Both end up in the history; By is needed.
	By  string `json:"by"`
	Why string `json:"why"`
}

// CommandKind says what is asked.
type CommandKind string

// The commands. Pause keeps the weight and stops promotions; harm still rolls back. Promote goes on to the next stage at once,
// whatever the evidence; from baking, and from the last stage where another router shares out the requests, it ends the rollout well.
const (
	Pause   CommandKind = "pause"
	Resume  CommandKind = "resume"
	Promote CommandKind = "promote"
	Abort   CommandKind = "abort"
)

const longestWhy = 1000

// Command carries out what is asked, as an input like any other. An error leaves the state as it was.
func (s *State) Command(c Command, now time.Time) ([]Action, error) {
	if strings.TrimSpace(c.By) == "" || len(c.By) > longestWhy || len(c.Why) > longestWhy {
		return nil, fmt.Errorf("rollout %s: %s: want who asks, and who and why of at most %d bytes", s.Doc.Name, c.Kind, longestWhy)
	}
	refused := func(why string) ([]Action, error) {
		return nil, fmt.Errorf("rollout %s: cannot %s: %s", s.Doc.Name, c.Kind, why)
	}
	if s.Phase.Final() {
		return refused("it has ended: " + string(s.Phase))
	}
	switch c.Kind {
	case Pause:
		if s.Phase == Paused || s.Phase == Pending {
			return refused("it is " + string(s.Phase))
		}
	case Resume:
		if s.Phase != Paused {
			return refused("it is " + string(s.Phase) + ", not paused")
		}
	case Promote:
		if s.Phase == Paused || s.Phase == Pending {
			return refused("it is " + string(s.Phase))
		}
		if why, bad := s.harm(); bad {
			return refused(why)
		}
	case Abort:
	default:
		return nil, fmt.Errorf("rollout %s: %q is no command: want pause, resume, promote or abort", s.Doc.Name, c.Kind)
	}
	if now = clean(now); now.After(s.Now) {
		s.Now = now
	}
	t := Transition{From: s.Phase, By: c.By, Why: c.Why}
	switch c.Kind {
	case Pause:
		s.Before, s.Phase, s.PausedAt = s.Phase, Paused, s.Now
	case Resume:
		s.Since = s.Since.Add(s.Now.Sub(s.PausedAt))
		s.Phase, s.Before, s.PausedAt = s.Before, "", time.Time{}
	case Promote:
		if t.Basis = BasisByHand; s.Phase == Baking || s.Doc.Outside() && s.Stage == len(s.Doc.Stages)-1 {
			return s.end(Done, t), nil
		}
		return s.begin(s.Stage+1, t), nil
	case Abort:
		return s.end(Aborted, t), nil
	}
	t.To = s.Phase
	out := s.note(t)
	return append(out, s.notice(false, fmt.Sprintf("%sd by %s: %s", c.Kind, c.By, c.Why))), nil
}
