package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

// serveFlags are the flags of telltale serve.
type serveFlags struct {
	config, prices, logFormat, logLevel string
	pprof                               string
	grace                               time.Duration
	place                               config.Placement
}

func newServeCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway, take in OpenTelemetry, and keep what was seen",
		Long: `Runs telltale's server: a gateway in front of model providers, which passes requests and answers through byte for
byte and remembers them; OTLP and JSON endpoints for what other systems have seen; and the HTTP API that
telltale exchanges, stats, replay and forget ask.

Clients change one base URL. Users' requests come first: whatever fails behind the gateway, they go through, and what
was not captured is counted. Everything listens on this machine only, unless keys are asked for.

A change of the configuration's file is taken without dropping a request; with a mistake in it the one before stays in
force. docs/gateway.md describes it.

One process does all of it. With a NATS server and ClickHouse the parts can be processes of their own, and each can run
several times: --role says what this one does. docs/server.md describes it.`,
		Example: `  telltale serve init                 # writes server.yaml to start from
  telltale serve --config server.yaml
  export OPENAI_BASE_URL=http://127.0.0.1:4000/v1
  telltale serve --role gateway --nats nats://bus:4222
  telltale serve --role worker --nats nats://bus:4222 --store clickhouse://telltale@db:9000/telltale`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return runServe(cmd, &f) },
	}
	fl := cmd.Flags()
	f.addPlace(cmd)
	fl.StringVar(&f.prices, "prices", "", "`file` of prices besides the built-in ones")
	fl.StringVar(&f.logFormat, "log-format", "text", "`format` of the log on standard error: text or json")
	fl.StringVar(&f.logLevel, "log-level", "info", "least `level` that is logged: debug, info, warn or error")
	fl.DurationVar(&f.grace, "grace", 30*time.Second, "`time` that requests under way have to finish at the end")
	fl.StringVar(&f.pprof, "pprof", "", "loopback `address` of Go's profiles, for those who work on telltale")
	_ = fl.MarkHidden("pprof")
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.AddCommand(newServeInitCmd())
	return cmd
}

// addPlace adds the flags that say which configuration is meant, and what this process does of it.
func (f *serveFlags) addPlace(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&f.config, "config", "c", "server.yaml", "configuration `file`")
	fl.StringSliceVar(&f.place.Roles, "role", nil, "`roles` of this process: gateway, ingest, worker, control, api; all of them when it is not given (roles in the configuration)")
	fl.StringVar(&f.place.Bus, "nats", "", "`address` of a NATS server that several processes share, instead of the bus inside this one (bus.url)")
	fl.StringVar(&f.place.Store, "store", "", "`address` of a ClickHouse server, instead of the store inside this process (store.url)")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(config.Roles[:], cobra.ShellCompDirectiveNoFileComp))
}

// serveMemory is what Go's memory keeps to, in bytes, when GOMEMLIMIT says nothing: near it the collector works more rather
// than the heap growing to twice what is in use. DuckDB's memory comes on top, with a limit of its own.
const serveMemory = 768 << 20

func runServe(cmd *cobra.Command, f *serveFlags) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return &usageError{fmt.Errorf("--log-level %q: want debug, info, warn or error", f.logLevel)}
	}
	if err := oneOf("log-format", f.logFormat, []string{"text", "json"}); err != nil {
		return err
	}
	options := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(cmd.ErrOrStderr(), options)
	if f.logFormat == "json" {
		h = slog.NewJSONHandler(cmd.ErrOrStderr(), options)
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if f.pprof != "" {
		stopProfiles, err := serveProfiles(ctx, f.pprof)
		if err != nil {
			return err
		}
		defer stopProfiles()
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(serveMemory)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(app.ServeGC)
	}
	err := app.Serve(ctx, app.ServeOptions{
		Config: f.config, Placement: f.place, Env: os.LookupEnv, Prices: f.prices, Log: slog.New(h), Grace: f.grace, Hangup: hangups(ctx),
		Ready: func(scheme, gateway, api, grpc string) {
			for _, l := range []struct{ what, at string }{{"gateway on " + scheme + "://", gateway}, {"api on " + scheme + "://", api}, {"otlp (gRPC) on ", grpc}} {
				if l.at != "" {
					fmt.Fprintln(cmd.OutOrStdout(), l.what+l.at)
				}
			}
		},
	})
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// hangups are the signals on which a server reads its configuration again.
func hangups(ctx context.Context) <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	context.AfterFunc(ctx, func() { signal.Stop(c) })
	return c
}

const serverTemplate = `# yaml-language-server: $schema=./server.schema.json
# What telltale serve does. docs/gateway.md describes every key; telltale validate server.yaml checks it.

routes:
  # Requests for /v1/... with any model go to the first upstream; the others take over when it fails.
  - name: default
    upstreams:
      - url: https://api.openai.com
        key_env: OPENAI_API_KEY
    # pass_key: true      # instead of key_env: the client's own key goes to the provider
    # models: [gpt-*]     # only these models
    # path: /support      # only requests below /support/v1/...

# What users write is redacted before it is written anywhere.
privacy:
  mode: mask

# Measurements are kept of every exchange, content of this share of them.
capture:
  content: 1.0

retention:
  content: 30d
  exchanges: 90d
`

func newServeInitCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration to start from",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := os.OpenFile(filepath.Clean(out), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
			if err != nil {
				e := &config.Error{Pos: config.Pos{File: out}, Problem: "cannot be written", Err: err}
				if errors.Is(err, os.ErrExist) {
					e.Problem, e.Err, e.Hint = "there is a file already", nil, "--out names another"
				}
				return e
			}
			_, err = f.WriteString(serverTemplate)
			if err = errors.Join(err, f.Close()); err != nil {
				return &app.CouldNotRun{Err: err}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is written; telltale serve --config %s starts it\n", out, out)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "server.yaml", "`file` to write")
	return cmd
}
