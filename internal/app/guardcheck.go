package app

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/guard"
)

// GuardCheckOptions are for CheckGuard.
type GuardCheckOptions struct {
	Config string
	Guard  string // may be empty where the configuration has one only
	// File is what the text is called in messages.
	File   string
	Stream bool
	Env    func(string) (string, bool)
}

// GuardCheck is what a guard makes of a text.
type GuardCheck struct {
	Guard   string `json:"guard"`
	Version string `json:"version,omitempty"`
	ID      string `json:"id"`
	// Answers is false for a guard that changes requests only.
	Answers bool `json:"reads_answers"`
	// Attempts are more than one where the model would be asked again; each later one is for a model that says the same again.
	Attempts []guard.Checked `json:"attempts"`
}

// Last is what the user gets in the end.
func (c *GuardCheck) Last() *guard.Checked { return &c.Attempts[len(c.Attempts)-1] }

// Stopped says that the text does not reach the user, also not in part masked.
func (c *GuardCheck) Stopped() bool {
	outcome := c.Last().Report.Outcome
	return outcome == guard.Blocked.String() || outcome == guard.Failed.String()
}

const (
	mostChecked = 16 << 20 // bytes of a text
	// checkedPiece is how many characters come at a time in a stream: fewer than a word, and no divisor of most.
	checkedPiece = 3
)

// CheckGuard shows what a guard of a server's configuration would do to a text. Nothing is sent or stored.
func CheckGuard(in io.Reader, o GuardCheckOptions) (*GuardCheck, error) {
	server, err := LoadServer(o.Config, o.Env)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(server.Guards))
	for i := range server.Guards {
		names[i] = server.Guards[i].Name
	}
	at := slices.Index(names, o.Guard)
	if o.Guard == "" && len(names) == 1 {
		at = 0
	}
	if at < 0 {
		e := &config.Error{Pos: config.Pos{File: o.Config, Key: "guards"}, Value: o.Guard, Problem: "there is no such guard", Want: "one of " + strings.Join(names, ", ")}
		switch {
		case len(names) == 0:
			e.Problem, e.Want = "the configuration has no guard", "a guard under guards; docs/guards.md describes them"
		case o.Guard == "":
			e.Problem = "there are several guards"
		default:
			if best := config.Nearest(o.Guard, names); best != "" {
				e.Hint = fmt.Sprintf("did you mean %q?", best)
			}
		}
		return nil, e
	}
	g, err := guard.New(server.Guards[at])
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(in, mostChecked+1))
	switch {
	case err != nil:
		return nil, &config.Error{Pos: config.Pos{File: o.File}, Problem: "cannot be read", Err: err}
	case len(b) > mostChecked:
		return nil, &config.Error{Pos: config.Pos{File: o.File}, Value: fmt.Sprintf("more than %d bytes", mostChecked), Problem: "the text is too long", Want: "at most 16 MiB"}
	case !utf8.Valid(b):
		return nil, &config.Error{Pos: config.Pos{File: o.File}, Problem: "not a text in UTF-8", Want: "the text of an answer, as a user reads it"}
	}
	piece := 0
	if o.Stream {
		piece = checkedPiece
	}
	return &GuardCheck{Guard: g.Name(), Version: g.Version(), ID: g.ID(), Answers: g.Reads(), Attempts: g.Check(string(b), piece)}, nil
}
