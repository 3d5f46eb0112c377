package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

// remoteFlags say which server is asked.
type remoteFlags struct{ server string }

func (f *remoteFlags) add(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&f.server, "server", "", "`address` of the server's API (default $"+app.ServerEnv+", or http://127.0.0.1:4001); the key is read from $"+app.APIKeyEnv)
}

func (f *remoteFlags) open() (*app.Remote, error) {
	address := f.server
	if address == "" {
		address = os.Getenv(app.ServerEnv)
	}
	return app.NewRemote(address, os.Getenv(app.APIKeyEnv))
}

// filterFlags say which exchanges are meant. They are sent as they are: the server knows what each may be.
type filterFlags struct{ query url.Values }

func (f *filterFlags) add(cmd *cobra.Command) {
	f.query = url.Values{}
	fl := cmd.Flags()
	text := func(name, usage string) {
		fl.Func(name, usage, func(v string) error {
			f.query.Add(queryName(name), v)
			return nil
		})
	}
	text("since", "at or after this `time`, or so long ago: 2026-01-31T12:00:00Z, 15m, 24h, 7d")
	text("until", "before this `time`, or so long ago")
	text("route", "of this `route`; may be repeated, as may the next ones")
	text("variant", "of this `variant`")
	text("snapshot", "of the snapshot with this `id`")
	text("model", "of this `model`, as asked or as served")
	text("source", "from this `source`: gateway, otlp, langfuse, json or file")
	text("status", "with this HTTP `status`")
	text("error", "with this `kind` of error, such as timeout")
	text("outcome", "`answered` or failed")
	text("min-latency", "that took at least so many `seconds`")
	text("user", "of this `user`, as clients name them or as stored")
	text("session", "of this `session`, as clients name it or as stored")
	text("trace", "of the trace with this `id`")
	text("tag", "with this tag, as `NAME:VALUE`; several must all hold")
	text("text", "with this `text` in their content")
	text("score", "with this score, as `NAME`, NAME>0.5 or NAME<0.5")
	_ = cmd.RegisterFlagCompletionFunc("outcome", cobra.FixedCompletions([]string{"answered", "failed"}, cobra.ShellCompDirectiveNoFileComp))
}

func queryName(flag string) string {
	if flag == "min-latency" {
		return "min_latency"
	}
	return flag
}

func newExchangesCmd() *cobra.Command {
	var remote remoteFlags
	cmd := &cobra.Command{
		Use:   "exchanges",
		Short: "Find, show, follow, export and import exchanges of a running server",
		Long:  "Finds what telltale serve has seen: requests and answers with what was measured of them. docs/exchange.md describes the fields.",
		Example: `  telltale exchanges list --since 1h --outcome failed
  telltale exchanges show 01981f8e-5b2a-7c4e-9d52-0a5f3f1e8c77
  telltale exchanges tail --route support
  telltale exchanges export --since 7d --format parquet --out week.parquet`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	remote.add(cmd)
	cmd.AddCommand(newExchangesListCmd(&remote), newExchangesShowCmd(&remote), newExchangesTailCmd(&remote), newExchangesExportCmd(&remote), newExchangesImportCmd(&remote))
	return cmd
}

func newExchangesListCmd(remote *remoteFlags) *cobra.Command {
	var filter filterFlags
	var limit int
	var cursor, format string
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List exchanges, newest first",
		Long:    "Lists exchanges, newest first, a page at a time. --format json prints the page with the cursor of the next one.",
		Example: "  telltale exchanges list --route support --since 15m\n  telltale exchanges list --score 'toxicity>0.5' --limit 20",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			filter.query.Set("limit", strconv.Itoa(limit))
			if cursor != "" {
				filter.query.Set("cursor", cursor)
			}
			page, err := r.List(cmd.Context(), filter.query)
			if err != nil {
				return err
			}
			if format == "json" {
				if page.Exchanges == nil {
					page.Exchanges = []record.Exchange{}
				}
				return writeJSON(cmd, page)
			}
			o := terminalOptions(cmd.OutOrStdout(), "auto", "")
			if o.Width == 0 {
				o.Width = 100 // a pipe may take all columns
			}
			if err := report.Exchanges(cmd.OutOrStdout(), page.Exchanges, o); err != nil {
				return err
			}
			if page.Next != "" {
				fmt.Fprintln(cmd.ErrOrStderr(), "note: there are more; --limit shows more at once, --cursor "+page.Next+" the next ones")
			}
			return nil
		},
	}
	filter.add(cmd)
	cmd.Flags().IntVar(&limit, "limit", 50, "most exchanges to list, up to 1000")
	cmd.Flags().StringVar(&cursor, "cursor", "", "`cursor` of the page before")
	formatFlag(cmd, &format)
	return cmd
}

func newExchangesShowCmd(remote *remoteFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show all that is known of one exchange",
		Args:  oneID,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
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
			if format == "json" {
				return writeJSON(cmd, x)
			}
			return report.Exchange(cmd.OutOrStdout(), &x, terminalOptions(cmd.OutOrStdout(), "auto", ""))
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

func oneID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{fmt.Errorf("%s takes the id of one exchange, got %q; telltale exchanges list shows them", cmd.CommandPath(), args)}
	}
	return nil
}

func newExchangesTailCmd(remote *remoteFlags) *cobra.Command {
	var filter filterFlags
	var format string
	cmd := &cobra.Command{
		Use:   "tail",
		Short: "Follow exchanges as they are stored",
		Long:  "Prints exchanges as they are stored, until it is interrupted. --format json prints one JSON object a line.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			return tail(cmd, r, filter.query, format)
		},
	}
	filter.add(cmd)
	formatFlag(cmd, &format)
	return cmd
}

// tail prints what is stored from now on, or from --since on.
func tail(cmd *cobra.Command, r *app.Remote, query url.Values, format string) error {
	since := time.Now()
	if text := query.Get("since"); text != "" {
		if ago, err := config.ParseDays(text); err == nil {
			since = since.Add(-ago)
		} else if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return &usageError{fmt.Errorf("--since %q: want a time such as 2026-01-31T12:00:00Z, or how long ago such as 15m or 7d", text)}
		}
	}
	err := r.Tail(cmd.Context(), query, since, func(x record.Exchange) error { return tailLine(cmd.OutOrStdout(), &x, format) })
	if errors.Is(err, context.Canceled) { // that is how it ends
		err = nil
	}
	return err
}

func tailLine(w io.Writer, x *record.Exchange, format string) error {
	if format == "json" {
		return json.NewEncoder(w).Encode(x)
	}
	_, err := fmt.Fprintln(w, report.ExchangeLine(x))
	return err
}

func newExchangesExportCmd(remote *remoteFlags) *cobra.Command {
	var filter filterFlags
	var out, format string
	var content bool
	cmd := &cobra.Command{
		Use:     "export",
		Short:   "Write all exchanges that a filter finds, as NDJSON or Parquet",
		Example: "  telltale exchanges export --since 24h --content --out day.jsonl\n  telltale exchanges export --route support --format parquet --out support.parquet",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, []string{"ndjson", "parquet"}); err != nil {
				return err
			}
			if format == "parquet" && out == "" {
				return &usageError{errors.New("--format parquet needs --out: it is no text for a terminal")}
			}
			r, err := remote.open()
			if err != nil {
				return err
			}
			filter.query.Set("format", format)
			filter.query.Set("content", strconv.FormatBool(content))
			return toFile(cmd, out, func(w io.Writer) error { return r.Export(cmd.Context(), filter.query, w) })
		},
	}
	filter.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&out, "out", "", "`file` to write; standard output when it is not set")
	fl.StringVar(&format, "format", "ndjson", "`format`: ndjson or parquet")
	fl.BoolVar(&content, "content", false, "the content too")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"ndjson", "parquet"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func newExchangesImportCmd(remote *remoteFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE…",
		Short: "Send exchanges from files to the server",
		Long: `Sends exchanges from files (.jsonl, .ndjson or .parquet, as telltale exchanges export writes them) to the server,
which redacts and stores them. An exchange that is there already is not stored twice, so an import that was ended can
be started again. A line that is no exchange ends it with the file and the line.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("exchanges import needs at least one file")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := remote.open()
			if err != nil {
				return err
			}
			return importFiles(cmd, r, args)
		},
	}
	return cmd
}

func importFiles(cmd *cobra.Command, r *app.Remote, files []string) error {
	for _, file := range files {
		bar := newByteBar(cmd.ErrOrStderr(), file)
		n, err := app.ImportExchanges(cmd.Context(), r, file, bar.set)
		bar.done()
		if err != nil {
			if errors.Is(err, context.Canceled) {
				return &app.Interrupted{Stopped: fmt.Sprintf("interrupted after %d exchanges of %s were stored", n, file)}
			}
			return err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s: %d exchanges sent\n", file, n); err != nil {
			return err
		}
	}
	return nil
}
