package stats

// alarm counts the observations of a change detector and keeps the first at which it alarmed. Its methods are
// those of every detector here.
type alarm struct {
	n  int64
	at int64
}

// see counts one observation.
func (a *alarm) see(crossed bool) {
	a.n++
	if crossed && a.at == 0 {
		a.at = a.n
	}
}

// N is the number of observations since the start or the latest Reset.
func (a *alarm) N() int64 { return a.n }

// Alarm says whether the detector has alarmed since the start or the latest Reset.
func (a *alarm) Alarm() bool { return a.at > 0 }

// AlarmAt is the number of the observation, from 1, at which it alarmed; 0 for none.
func (a *alarm) AlarmAt() int64 { return a.at }

func (a *alarm) check(kind string) error {
	if a.n < 0 || a.at < 0 || a.at > a.n {
		return badState(kind, "the observation of the alarm", a.at)
	}
	return nil
}
