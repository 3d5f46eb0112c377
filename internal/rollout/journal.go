package rollout

// journal is what a rollout or an experiment has taken, refused and done.
type journal struct {
	Taken int64 `json:"taken"`
	// Refused counts evidence that was not taken, by reason.
	Refused map[string]int64 `json:"refused,omitempty"`
	// History are the latest transitions; Sequence is the number of the last one.
	History  []Transition `json:"history"`
	Sequence int64        `json:"sequence"`
}

// maxHistory is how many transitions are held.
const maxHistory = 20

func (j *journal) refuse(why string) {
	if j.Refused == nil {
		j.Refused = map[string]int64{}
	}
	j.Refused[why]++
}

// enter adds a transition. What no longer has a place is to be appended to a log.
func (j *journal) enter(t Transition) []Action {
	j.Sequence++
	if t.Sequence = j.Sequence; t.By == "" {
		t.By = Self
	}
	j.History = append(j.History, t)
	if len(j.History) <= maxHistory {
		return nil
	}
	gone := j.History[0]
	j.History = append([]Transition(nil), j.History[1:]...)
	return []Action{{Kind: Append, Transition: &gone}}
}

// lastWhy is the reason of the latest transition to a phase.
func (j *journal) lastWhy(to Phase) string {
	for i := len(j.History) - 1; i >= 0; i-- {
		if t := &j.History[i]; t.To == to && t.Why != "" {
			return t.Why
		} else if t.To == to {
			return string(to) + " by " + t.By
		}
	}
	return string(to)
}
