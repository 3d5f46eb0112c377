package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/sim"
)

// simFlags are the flags of telltale sim.
type simFlags struct {
	config      string
	addr        string
	seed        int64
	model       string
	latency     string
	errorRate   string
	apiKeyEnv   string
	portFile    string
	allowRemote bool
}

// newSimCmd returns telltale sim: a simulated model server on loopback.
func newSimCmd() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Serve a simulated model over the OpenAI and Anthropic wire formats",
		Long: `Serve a simulated model on loopback. It answers as a small support assistant, or
as its configuration says, and misbehaves on request: latency, errors, broken
streams, and regressions scripted by version and time. The same seed and the same
requests give the same answers, whatever their order.

It prints one line, "listening on http://HOST:PORT/v1", and serves until it is
interrupted. Endpoints below /v1: chat/completions, completions, responses,
embeddings, moderations, models, and Anthropic's messages and
messages/count_tokens. Also /healthz, and /sim/stats with what was counted.

The configuration is described in docs/sim.md.`,
		Example: `  # a support assistant on a free port, its port number in a file for scripts
  telltale sim --port-file /tmp/sim.port

  # slow, and 5% of the requests fail
  telltale sim --addr 127.0.0.1:8089 --latency "lognormal(200ms, 600ms)" --error-rate 429=0.03,500=0.02

  # a scripted model; versions are asked for as sim-v2 or sim@v2
  telltale sim --config sim.yaml --seed 7

  # ask it
  curl -s http://127.0.0.1:8089/v1/chat/completions -d '{"model": "sim", "messages": [{"role": "user", "content": "How do I get a refund?"}]}'`,
		Args:          noArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runSim(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.config, "config", "c", "", "`file` that says how the model behaves (sim.yaml)")
	fl.StringVar(&f.addr, "addr", "127.0.0.1:0", "`host:port` to listen on; port 0 takes a free one")
	fl.Int64Var(&f.seed, "seed", 0, "`number` that moves every decision (overrides the file's)")
	fl.StringVar(&f.model, "model", "", "`name` of the model (overrides the file's; default sim)")
	fl.StringVar(&f.latency, "latency", "", "`time` to the first token: 200ms, uniform(A, B), lognormal(P50, P95) or exponential(MEAN)")
	fl.StringVar(&f.errorRate, "error-rate", "", "`share` of requests that fail with 500, or a list: 429=0.02,503=0.01,cut=0.01")
	fl.StringVar(&f.apiKeyEnv, "api-key-env", "", "environment `variable` that holds the API key clients must send")
	fl.StringVar(&f.portFile, "port-file", "", "`file` to write the port number to once the server listens")
	fl.BoolVar(&f.allowRemote, "allow-remote", false, "permit an address that other machines can reach")
	return cmd
}

// runSim reads the configuration, listens, and serves until interrupted.
func runSim(cmd *cobra.Command, f *simFlags) error {
	cfg, err := f.load(cmd)
	if err != nil {
		return err
	}
	var key string
	if f.apiKeyEnv != "" {
		if key = os.Getenv(f.apiKeyEnv); key == "" {
			return &config.Error{Pos: config.Pos{Key: "--api-key-env"}, Value: f.apiKeyEnv, Problem: "this environment variable is not set", Want: "the name of a variable that holds the key"}
		}
	}
	model, err := sim.New(sim.Options{Config: cfg})
	if err != nil {
		return &config.Error{Pos: config.Pos{File: f.config}, Err: err}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := loopback.Listen(ctx, loopback.Options{
		Addr: f.addr, AllowRemote: f.allowRemote, Example: "127.0.0.1:8089", Risk: "the simulator has no other protection than --api-key-env",
	})
	if err != nil {
		return err
	}
	if err := f.announce(cmd, ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	return sim.Serve(ctx, ln, sim.NewServer(model, sim.ServerOptions{APIKey: key}))
}

// load reads the file and applies the flags on top of it.
func (f *simFlags) load(cmd *cobra.Command) (sim.Config, error) {
	cfg := sim.Config{}
	if f.config != "" {
		data, err := os.ReadFile(f.config)
		if err != nil {
			return cfg, &config.Error{Pos: config.Pos{File: f.config, Key: "--config"}, Problem: "cannot be read", Err: err}
		}
		if cfg, err = sim.Load(f.config, data); err != nil {
			return cfg, err
		}
	}
	if cmd.Flags().Changed("seed") {
		cfg.Seed = f.seed
	}
	if f.model != "" {
		cfg.Model = f.model
	}
	if f.latency != "" {
		d, err := sim.ParseTimes(f.latency)
		if err != nil {
			return cfg, &config.Error{Pos: config.Pos{Key: "--latency"}, Value: f.latency, Err: err}
		}
		cfg.Override(func(b *sim.Behaviour) { b.Latency.TTFT = d })
	}
	if f.errorRate != "" {
		faults, err := sim.ParseFaults(f.errorRate)
		if err != nil {
			return cfg, &config.Error{Pos: config.Pos{Key: "--error-rate"}, Value: f.errorRate, Err: err}
		}
		cfg.Override(func(b *sim.Behaviour) { b.Faults = faults })
	}
	return cfg, nil
}

// announce says where the server listens.
func (f *simFlags) announce(cmd *cobra.Command, addr net.Addr) error {
	if err := writePort(f.portFile, addr); err != nil {
		return err
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "listening on http://%s/v1\n", addr)
	return err
}

// writePort writes the port number of addr into the file that --port-file names, if it does. The file is
// replaced in one step, so that a script that waits for it never reads half a number.
func writePort(path string, addr net.Addr) error {
	if path == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, []byte(port+"\n"), 0o644); err != nil {
		return &config.Error{Pos: config.Pos{Key: "--port-file"}, Value: path, Problem: "cannot be written", Err: err}
	}
	if err := os.Rename(tmp, path); err != nil {
		return &config.Error{Pos: config.Pos{Key: "--port-file"}, Value: path, Problem: "cannot be written", Err: err}
	}
	return nil
}
