package main

import (
	"context"
	"fmt"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/api"
	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/rollout"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func newRolloutCmd() *cobra.Command {
	var remote remoteFlags
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Bring a variant of a route to users in steps, and withdraw it when it is worse",
		Long: `Starts, shows and changes rollouts of a running server. A rollout gives a variant of a route to a growing share of the
users, watches signals such as errors, latency and scores, and withdraws it by itself when one of them is shown to be worse.
docs/rollouts.md describes the document and how it is decided.`,
		Example: `  telltale rollout start rollout.yaml
  telltale rollout status
  telltale rollout watch new-model
  telltale rollout abort new-model --why "wrong prompt"`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	remote.add(cmd)
	cmd.AddCommand(newRolloutStartCmd(&remote), newRolloutStatusCmd(&remote), newRolloutWatchCmd(&remote), newRolloutHistoryCmd(&remote), newRolloutForecastCmd(&remote))
	for _, c := range []struct {
		kind  rollout.CommandKind
		short string
		long  string
	}{
		{rollout.Pause, "Hold a rollout at its weight", "Holds a rollout at its weight: nothing is promoted until it is resumed. A candidate that is shown to be worse is still withdrawn."},
		{rollout.Resume, "Let a paused rollout go on", "Lets a paused rollout go on. The time of the pause does not count in its stage."},
		{rollout.Promote, "Go on to the next stage now", "Goes on to the next stage now, whatever the evidence; at 100% it ends the rollout. Refused when a signal has shown the candidate to be worse."},
		{rollout.Abort, "Withdraw the candidate and end the rollout", "Withdraws the candidate and ends the rollout. Every request goes to the baseline again."},
	} {
		cmd.AddCommand(newRolloutChangeCmd(&remote, c.kind, c.short, c.long))
	}
	return cmd
}

// whoFlags say who asks, and why.
type whoFlags struct{ by, why string }

func (f *whoFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.by, "by", "", "`who` asks, for the history; your user name when it is not given")
	cmd.Flags().StringVar(&f.why, "why", "", "`reason`, for the history")
}

func (f *whoFlags) who() string {
	if f.by != "" {
		return f.by
	}
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "unknown"
}

// oneName wants exactly one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{fmt.Errorf("%s takes %s, got %q", cmd.CommandPath(), what, args)}
		}
		return nil
	}
}

func newRolloutStartCmd(remote *remoteFlags) *cobra.Command {
	var who whoFlags
	var format string
	cmd := &cobra.Command{
		Use:     "start FILE",
		Short:   "Start the rollout of a file",
		Long:    "Starts the rollout, or the experiment, of a rollout.yaml. A route has one at a time.",
		Example: "  telltale rollout start rollout.yaml --why \"cheaper model\"",
		Args:    oneArg("one file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRemote(cmd, remote, format, func(ctx context.Context, r *app.Remote) (any, error) {
				return r.StartRollout(ctx, args[0], who.who(), who.why)
			})
		},
	}
	who.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

func newRolloutChangeCmd(remote *remoteFlags, kind rollout.CommandKind, short, long string) *cobra.Command {
	var who whoFlags
	var format string
	cmd := &cobra.Command{
		Use:     string(kind) + " NAME",
		Short:   short,
		Long:    long,
		Example: fmt.Sprintf("  telltale rollout %s new-model --why \"…\"", kind),
		Args:    oneArg("the name of one rollout"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRemote(cmd, remote, format, func(ctx context.Context, r *app.Remote) (any, error) {
				return r.CommandRollout(ctx, args[0], rollout.Command{Kind: kind, By: who.who(), Why: who.why})
			})
		},
	}
	cmd.ValidArgsFunction = rolloutNames(remote)
	who.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

func newRolloutStatusCmd(remote *remoteFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show how rollouts stand",
		Long: `Lists all rollouts, or shows how one stands: its stage, why it does not go on, and for each signal the rates in both arms, the
interval of their difference and the evidence that the candidate is worse.`,
		Example: "  telltale rollout status\n  telltale rollout status new-model --format json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("%s takes the name of one rollout, got %q", cmd.CommandPath(), args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRemote(cmd, remote, format, func(ctx context.Context, r *app.Remote) (any, error) {
				if len(args) == 0 {
					return r.Rollouts(ctx)
				}
				return r.Rollout(ctx, args[0])
			})
		},
	}
	cmd.ValidArgsFunction = rolloutNames(remote)
	formatFlag(cmd, &format)
	return cmd
}

func newRolloutHistoryCmd(remote *remoteFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:     "history NAME",
		Short:   "Show every change of a rollout: when, who, why, and what was known then",
		Long:    "Shows every change of a rollout, oldest first. --format json has each signal's state at that moment too.",
		Example: "  telltale rollout history new-model",
		Args:    oneArg("the name of one rollout"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withRemote(cmd, remote, format, func(ctx context.Context, r *app.Remote) (any, error) {
				return r.RolloutHistory(ctx, args[0])
			})
		},
	}
	cmd.ValidArgsFunction = rolloutNames(remote)
	formatFlag(cmd, &format)
	return cmd
}

func newRolloutWatchCmd(remote *remoteFlags) *cobra.Command {
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "watch NAME",
		Short: "Follow a rollout until it ends",
		Long: `Shows how a rollout stands, again whenever something has changed, until it ends. The exit code is 0 when it is done, 1 when
the candidate was withdrawn or the rollout aborted.`,
		Example: "  telltale rollout watch new-model && echo promoted",
		Args:    oneArg("the name of one rollout"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if every < 100*time.Millisecond {
				return &usageError{fmt.Errorf("--every %v: want at least 100ms", every)}
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			return watchRollout(cmd, r, args[0], every)
		},
	}
	cmd.ValidArgsFunction = rolloutNames(remote)
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "`time` between two looks")
	return cmd
}

func watchRollout(cmd *cobra.Command, r *app.Remote, name string, every time.Duration) error {
	out := cmd.OutOrStdout()
	shown := ""
	for {
		got, err := r.Rollout(cmd.Context(), name)
		if err != nil {
			return err
		}
		// The state of each signal, not its numbers: those change with every request.
		now := fmt.Sprint(got.Phase, got.Stage, got.Undecided, got.BothArms)
		for _, s := range got.Signals {
			now += " " + s.State
		}
		if now != shown {
			if shown != "" {
				_, _ = fmt.Fprintln(out)
			}
			shown = now
			if err := showRollouts(cmd, got); err != nil {
				return err
			}
		}
		switch rollout.Phase(got.Phase) {
		case rollout.Done:
			return nil
		case rollout.RolledBack, rollout.Aborted:
			return &verdictError{verdict.Fail}
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-time.After(every):
		}
	}
}

// withRemote asks the server and shows the answer.
func withRemote(cmd *cobra.Command, remote *remoteFlags, format string, ask func(context.Context, *app.Remote) (any, error)) error {
	if err := oneOf("format", format, compareFormats); err != nil {
		return err
	}
	r, err := remote.open()
	if err != nil {
		return err
	}
	got, err := ask(cmd.Context(), r)
	if err != nil {
		return err
	}
	if format == "json" {
		return writeJSON(cmd, got)
	}
	return showRollouts(cmd, got)
}

func showRollouts(cmd *cobra.Command, got any) error {
	out := cmd.OutOrStdout()
	opts := terminalOptions(out, "auto", "")
	switch v := got.(type) {
	case []api.Rollout:
		rows := make([]report.RolloutRow, len(v))
		for i := range v {
			rows[i] = rolloutRow(&v[i])
		}
		return report.Rollouts(out, rows, opts)
	case []rollout.Transition:
		return report.RolloutHistory(out, v, opts)
	case api.Rollout:
		if v.Result != nil {
			_, err := fmt.Fprint(out, v.Result.Markdown())
			return err
		}
		row := rolloutRow(&v)
		return report.Rollout(out, &row, opts)
	}
	return fmt.Errorf("nothing to show of %T", got)
}

func rolloutRow(v *api.Rollout) report.RolloutRow {
	row := report.RolloutRow{
		Name: v.Name, Kind: v.Kind, Route: v.Route, Baseline: v.Baseline, Candidate: v.Candidate, Phase: v.Phase, Stage: v.Stage, Stages: v.Stages,
		Weight: v.Weight, Created: v.Created, Since: v.Since, BothArms: v.BothArms, Taken: v.Taken, Refused: v.Refused, Signals: v.Signals,
	}
	if v.Decision != nil {
		row.Reason = v.Decision.Reason
	}
	if row.Guarantee = v.Guarantee; v.AssignedBy == config.AssignedByOutside {
		row.Outside = true
	}
	if s := v.Sentinels; s != nil {
		row.Sentinels = sentinelsOf(s)
	}
	for _, t := range v.Targets {
		row.Targets = append(row.Targets, report.RolloutTarget{Name: t.Target, Current: t.Applied >= t.Wanted, Error: t.Error})
	}
	return row
}

func sentinelsOf(s *api.Sentinels) *report.RolloutSentinels {
	out := &report.RolloutSentinels{Error: s.Error}
	if s.Last != nil {
		out.Last = *s.Last
	}
	for _, c := range s.Cases {
		switch {
		case c.Candidate == nil:
			out.Open = append(out.Open, c.Case)
		case *c.Candidate:
			out.Passed++
		case c.Baseline != nil && !*c.Baseline:
			out.Both = append(out.Both, c.Case)
		default:
			out.Alone = append(out.Alone, c.Case)
		}
	}
	return out
}

// rolloutNames completes names of rollouts, if a server answers.
func rolloutNames(remote *remoteFlags) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(cmd *cobra.Command, args []string, start string) (names []string, _ cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), time.Second)
		defer cancel()
		r, err := remote.open()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		all, err := r.Rollouts(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		for _, v := range all {
			if strings.HasPrefix(v.Name, start) {
				names = append(names, v.Name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
