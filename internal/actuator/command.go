package actuator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// Command runs a program for each change. It gets the change as JSON on its standard input and as variables TELLTALE_ROLLOUT,
// _ROUTE, _BASELINE, _CANDIDATE, _WEIGHT, _PHASE, _STAGE, _REVISION and _REASON; of telltale's own environment it gets PATH, HOME
// and what is listed. Exit code 0 is success.
type Command struct {
	args []string
	env  []string
}

// NewCommand returns a Command. The program is started without a shell; pass are the names of variables that it gets too.
func NewCommand(args, pass []string) (*Command, error) {
	if len(args) == 0 || args[0] == "" {
		return nil, errors.New("actuator: exec: want a program and its arguments")
	}
	c := &Command{args: args}
	for _, name := range append([]string{"PATH", "HOME", "SYSTEMROOT"}, pass...) {
		if v, ok := os.LookupEnv(name); ok {
			c.env = append(c.env, name+"="+v)
		}
	}
	return c, nil
}

// Name is the program's.
func (c *Command) Name() string { return "exec " + c.args[0] }

// Apply runs the program to its end. When the context ends first it is asked to end, and killed a second later.
func (c *Command) Apply(ctx context.Context, ch Change) error {
	in, err := json.Marshal(ch)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(append([]string{}, c.env...),
		"TELLTALE_ROLLOUT="+ch.Rollout, "TELLTALE_ROUTE="+ch.Route, "TELLTALE_BASELINE="+ch.Baseline, "TELLTALE_CANDIDATE="+ch.Candidate,
		"TELLTALE_WEIGHT="+strconv.FormatFloat(ch.Weight, 'g', -1, 64), "TELLTALE_PHASE="+ch.Phase, "TELLTALE_STAGE="+strconv.Itoa(ch.Stage),
		"TELLTALE_REVISION="+strconv.FormatUint(ch.Revision, 10), "TELLTALE_REASON="+strings.ReplaceAll(ch.Reason, "\x00", ""))
	cmd.Stdin = bytes.NewReader(in)
	out := &end{max: 500}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	if err != nil && len(out.b) > 0 {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out.b)))
	}
	return err
}

// end keeps the last bytes that were written.
type end struct {
	b   []byte
	max int
}

func (e *end) Write(p []byte) (int, error) {
	e.b = append(e.b, p...)
	if over := len(e.b) - e.max; over > 0 {
		e.b = append(e.b[:0], e.b[over:]...)
	}
	return len(p), nil
}
