package main

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

func newStatsCmd() *cobra.Command {
	var remote remoteFlags
	var since, until, every, format string
	var by, scores []string
	cmd := &cobra.Command{
		Use:   "stats [ROUTE]",
		Short: "Show a route's requests, errors, latencies, tokens and cost",
		Long: `Shows the numbers of a route of a running server, of all routes when none is named: requests, the share that
failed, latency at p50, p95 and p99 and the time to the first token (within 1%), tokens and cost.

Requests that the client gave up are counted and are not errors.`,
		Example: `  telltale stats support --since 1h --by variant
  telltale stats --since 24h --every 1h
  telltale stats support --by snapshot,model --score toxicity`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("%s takes the name of one route, got %q", cmd.CommandPath(), args)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			query := url.Values{"since": {since}}
			for name, values := range map[string][]string{"until": {until}, "every": {every}, "by": {strings.Join(by, ",")}, "score": {strings.Join(scores, ",")}} {
				if values[0] != "" {
					query[name] = values
				}
			}
			route := "all"
			if len(args) > 0 {
				route = args[0]
			}
			s, err := r.Stats(cmd.Context(), route, query)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, s)
			}
			title := "Route " + route
			if route == "all" {
				title = "All routes"
			}
			title += fmt.Sprintf("  %s to %s UTC", s.From.UTC().Format(time.DateTime), s.To.UTC().Format(time.DateTime))
			return report.Stats(cmd.OutOrStdout(), title, by, statsRows(&s), every != "", terminalOptions(cmd.OutOrStdout(), "auto", ""))
		},
	}
	remote.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&since, "since", "1h", "from this `time`, or so long ago")
	fl.StringVar(&until, "until", "", "before this `time`, or so long ago; now when it is not set")
	fl.StringVar(&every, "every", "", "length of intervals such as 1m; one interval when it is not set")
	fl.StringSliceVar(&by, "by", nil, "what is told apart, such as variant, snapshot, model or status; with commas")
	fl.StringSliceVar(&scores, "score", nil, "`names` of scores whose means are shown")
	formatFlag(cmd, &format)
	return cmd
}

func statsRows(s *app.RouteStats) []report.StatsRow {
	rows := make([]report.StatsRow, len(s.Points))
	for i := range s.Points {
		p := &s.Points[i]
		row := report.StatsRow{Time: p.Time, Group: p.Group, Count: p.Count, ErrorRate: p.ErrorRate, PromptTokens: p.PromptTokens, CompletionTokens: p.CompletionTokens, Cost: p.Cost}
		if p.Latency.Count > 0 {
			row.P50, row.P95, row.P99 = &p.Latency.P50, &p.Latency.P95, &p.Latency.P99
		}
		if p.TTFT.Count > 0 {
			row.First = &p.TTFT.P50
		}
		for _, m := range p.Scores {
			if m.Count > 0 {
				row.Scores = append(row.Scores, fmt.Sprintf("%s %.4g (of %d)", m.Name, m.Value, m.Count))
			}
		}
		rows[i] = row
	}
	return rows
}

func newForgetCmd() *cobra.Command {
	var remote remoteFlags
	var user, format string
	cmd := &cobra.Command{
		Use:   "forget --user NAME",
		Short: "Remove a person's content, and what identifies them, from a running server",
		Long: `Removes the content of all exchanges of a person and whatever identifies them: user, session, tags, error text,
parameters, trace ids. The measurements stay, so that rates and latencies do not change. The person is named as clients
name them; pseudonyms under current and old keys are found too. It cannot be undone.`,
		Example: "  telltale forget --user anna@example.org",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			if user == "" {
				return &usageError{fmt.Errorf("forget needs --user")}
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			d, err := r.Forget(cmd.Context(), user)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, d)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d exchanges made anonymous, the content of %d removed\n", d.Exchanges, d.Content)
			return err
		},
	}
	remote.add(cmd)
	cmd.Flags().StringVar(&user, "user", "", "`name` of the person as clients send it")
	formatFlag(cmd, &format)
	return cmd
}

func newReplayCmd() *cobra.Command {
	var remote remoteFlags
	var file, format string
	var repeats int
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Send an exchange's request again and show what differs",
		Long: `Sends the request of an exchange again, with the model, the parameters and the seed of then, to the upstream that
answered it, and shows how the answers of now differ and how many of them agree. The server's configuration is read for
the upstream's address and key; the request does not go through the gateway and is not captured.`,
		Example: "  telltale replay 01981f8e-5b2a-7c4e-9d52-0a5f3f1e8c77 --repeats 5",
		Args:    oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			if repeats < 1 || repeats > 1000 {
				return &usageError{fmt.Errorf("--repeats %d: want 1 to 1000", repeats)}
			}
			server, err := app.LoadUpstreams(file, os.LookupEnv)
			if err != nil {
				return err
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			x, err := r.Exchange(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			snap, err := r.Snapshot(cmd.Context(), x.Snapshot)
			if missing, ok := errors.AsType[*app.Refusal](err); ok && missing.Status == http.StatusNotFound {
				snap = record.Snapshot{} // RunReplay says so
			} else if err != nil {
				return &config.Error{Pos: config.Pos{Key: x.Snapshot}, Problem: "the snapshot of this exchange cannot be had", Err: err}
			}
			replay, err := app.RunReplay(cmd.Context(), app.ReplayOptions{Exchange: x, Snapshot: snap, Server: server, Repeats: repeats, Timeout: timeout})
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, replay)
			}
			return report.Replay(cmd.OutOrStdout(), replayView(replay), terminalOptions(cmd.OutOrStdout(), "auto", ""))
		},
	}
	remote.add(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&file, "config", "c", "server.yaml", "the server's configuration `file`")
	fl.IntVar(&repeats, "repeats", 3, "how often the request is sent")
	fl.DurationVar(&timeout, "timeout", 5*time.Minute, "`time` that one request may take")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	formatFlag(cmd, &format)
	return cmd
}

func replayView(r *app.Replay) *report.ReplayView {
	v := &report.ReplayView{ID: r.ID, Upstream: r.Upstream, Then: r.Then.Output, Agree: r.Agree, Alike: r.Alike, Largest: r.Largest, Notes: r.Notes}
	changed := map[string]bool{}
	change := func(what, then, now string) {
		if then != now && then != "" {
			changed[fmt.Sprintf("%s was %s, is %s", what, then, orNothing(now))] = true
		}
	}
	for i := range r.Now {
		now := &r.Now[i]
		if now.Error != "" {
			v.Errors = append(v.Errors, now.Error)
			continue
		}
		v.Now = append(v.Now, now.Output)
		change("fingerprint", r.Then.Fingerprint, now.Fingerprint)
		change("served model", r.Then.Served, now.Served)
		change("finish reason", r.Then.FinishReason, now.FinishReason)
	}
	v.Changes = slices.Sorted(maps.Keys(changed))
	return v
}

func orNothing(s string) string {
	if s == "" {
		return "not said"
	}
	return s
}
