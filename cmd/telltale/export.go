package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/export"
)

// newExportCmd returns telltale export, the parent of one command for each format.
func newExportCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write a finished run in another tool's format",
		Long: `Reads the results of a finished run (run.json and samples.jsonl) and writes them in the format of
another tool. The run itself is not changed. docs/exports.md describes each format.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("export needs a format; telltale export --help lists them")}
			}
			return &usageError{fmt.Errorf("unknown format %q; telltale export --help lists them", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExportMLflowCmd(), newExportOTelCmd(), newExportParquetCmd())
	return cmd
}

// oneRun asks for the directory of one run.
func oneRun(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{fmt.Errorf("%s takes the directory of one run, got %q", cmd.CommandPath(), args)}
	}
	return nil
}

// toFile runs write into a new file that is whole or absent, or to standard output when path is empty.
func toFile(cmd *cobra.Command, path string, write func(io.Writer) error) error {
	if path == "" {
		w := bufio.NewWriter(cmd.OutOrStdout())
		return notWritten(errors.Join(write(w), w.Flush()))
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return &config.Error{Pos: config.Pos{Key: "--out"}, Value: path, Problem: "cannot be written", Err: err}
	}
	w := bufio.NewWriterSize(f, 1<<20)
	err = write(w)
	if err == nil {
		err = errors.Join(w.Flush(), f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return notWritten(errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}

// notWritten says that something could not be written, unless it was a mistake of the user's.
func notWritten(err error) error {
	_, one := errors.AsType[*config.Error](err)
	_, several := errors.AsType[config.Errors](err)
	if err == nil || one || several {
		return err
	}
	return &app.CouldNotRun{Err: err}
}

func newExportMLflowCmd() *cobra.Command {
	var out, runID string
	cmd := &cobra.Command{
		Use:   "mlflow DIR",
		Short: "Metrics, parameters and tags as MLflow takes them",
		Long: `Writes the body of MLflow's request runs/log-batch: every metric with its interval, what the run was made
with as parameters, and the verdict as tags. At most 1,000 values, as MLflow takes them at once.`,
		Example: `  telltale export mlflow results --run-id 3f2c… --out batch.json
  curl -H 'Content-Type: application/json' -d @batch.json http://127.0.0.1:5000/api/2.0/mlflow/runs/log-batch`,
		Args:              oneRun,
		ValidArgsFunction: completeDirs,
		RunE: func(cmd *cobra.Command, args []string) error {
			finished, err := app.OpenRun(args[0])
			if err != nil {
				return err
			}
			batch, left := export.MLflow(finished.Run)
			batch.RunID = runID
			if left > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: %d metrics are left out, for MLflow takes 1000 values at once; run.json has them\n", left)
			}
			return toFile(cmd, out, func(w io.Writer) error { return export.WriteMLflow(w, batch) })
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "`file` to write (default standard output)")
	cmd.Flags().StringVar(&runID, "run-id", "", "MLflow's `id` of the run, put into the request")
	return cmd
}

// otelFlags are the flags of telltale export otel.
type otelFlags struct {
	out, endpoint string
	headers       []string
	retries       int
	timeout       time.Duration
}

func newExportOTelCmd() *cobra.Command {
	var f otelFlags
	cmd := &cobra.Command{
		Use:   "otel DIR",
		Short: "Scores as OpenTelemetry events",
		Long: `Writes an event gen_ai.evaluation.result for each score of each sample and for each sample's verdict, as
OTLP/JSON logs: into a file, one request a line, or to the OTLP/HTTP endpoint that --endpoint names.
Requests hold at most 500 events. Nothing is sent anywhere without --endpoint.`,
		Example: `  telltale export otel results --out events.jsonl
  telltale export otel results --endpoint http://127.0.0.1:4318
  telltale export otel results --endpoint https://otel.example/v1/logs --header Authorization=OTEL_TOKEN`,
		Args:              oneRun,
		ValidArgsFunction: completeDirs,
		RunE:              func(cmd *cobra.Command, args []string) error { return exportOTel(cmd, args[0], &f) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.out, "out", "o", "", "`file` to write (default standard output)")
	fl.StringVar(&f.endpoint, "endpoint", "", "`address` of an OTLP/HTTP receiver; /v1/logs is added when it has no path")
	fl.StringArrayVar(&f.headers, "header", nil, "send a header whose value is in an environment variable, as `NAME=VARIABLE`; may be repeated")
	fl.IntVar(&f.retries, "retries", 4, "further attempts for a request after a failure that may pass")
	fl.DurationVar(&f.timeout, "timeout", 10*time.Second, "longest time for one attempt")
	return cmd
}

func (f *otelFlags) header() (http.Header, error) {
	h := http.Header{}
	for _, pair := range f.headers {
		name, variable, ok := strings.Cut(pair, "=")
		if !ok || name == "" || variable == "" {
			return nil, &usageError{errors.New("--header: want NAME=VARIABLE, where VARIABLE is an environment variable that holds the value")}
		}
		value := os.Getenv(variable)
		if value == "" {
			return nil, &config.Error{Pos: config.Pos{Key: "--header"}, Value: variable, Problem: "this environment variable is not set", Want: "the name of a variable that holds the header's value"}
		}
		if strings.ContainsAny(name, " \t\r\n:") || strings.ContainsAny(value, "\r\n\x00") {
			return nil, &config.Error{Pos: config.Pos{Key: "--header"}, Value: name, Problem: "name or value cannot be a header's"}
		}
		h.Add(name, value)
	}
	return h, nil
}

func exportOTel(cmd *cobra.Command, dir string, f *otelFlags) error {
	if err := exclusive(cmd, "out", "endpoint"); err != nil {
		return err
	}
	if f.retries < 0 || f.timeout <= 0 {
		return &usageError{errors.New("--retries must be 0 or more and --timeout above 0")}
	}
	if f.endpoint == "" && len(f.headers) > 0 {
		return &usageError{errors.New("--header needs --endpoint")}
	}
	header, err := f.header()
	if err != nil {
		return err
	}
	finished, err := app.OpenRun(dir)
	if err != nil {
		return err
	}
	samples := app.ReadSamples(finished.Dir)
	if f.endpoint == "" {
		return toFile(cmd, f.out, func(w io.Writer) error {
			_, err := export.WriteOTel(w, finished.Run, samples)
			return err
		})
	}
	e := export.Endpoint{URL: f.endpoint, Header: header, Retries: f.retries, Timeout: f.timeout}
	sent, err := e.Send(cmd.Context(), export.Requests(finished.Run, samples))
	if _, mistake := errors.AsType[*config.Error](err); mistake {
		return err
	}
	if err != nil {
		return &app.CouldNotRun{Err: err}
	}
	if sent.Rejected > 0 {
		return &app.CouldNotRun{Err: fmt.Errorf("the receiver refused %d of %d events: %s", sent.Rejected, sent.Rejected+sent.Records, sent.Why)}
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "sent %d events in %d requests\n", sent.Records, sent.Requests)
	return err
}
