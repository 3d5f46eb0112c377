package record

import "time"

// Late is a score of an exchange that is told apart from it, mostly long after it was stored. It may also come before its
// exchange does.
type Late struct {
	Exchange string `json:"exchange"` // its ID
	// Mark tells the score from others of the same exchange and name. What is sent again has the same one: the signature of
	// the recipe, or the time at which the score was made.
	Mark  string      `json:"mark"`
	Time  time.Time   `json:"time"` // when it was made, UTC
	Score OnlineScore `json:"score"`
	// Redaction is as for an exchange: empty means that it has not been redacted, and is never written anywhere.
	Redaction string `json:"redaction,omitempty"`
}
