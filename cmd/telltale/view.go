package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/report/view"
)

// viewFlags are the flags of telltale view.
type viewFlags struct {
	addr        string
	portFile    string
	open        bool
	allowRemote bool
}

// newViewCmd returns telltale view: the results of runs in a browser.
func newViewCmd() *cobra.Command {
	var f viewFlags
	cmd := &cobra.Command{
		Use:   "view [DIR]",
		Short: "Show runs in a browser, those under way too",
		Long: `Serves the report of the run in DIR on loopback, or a list when DIR holds several runs, and prints the
address. A run that is under way is shown as it goes on: counts, pass rate, errors and the latest
samples that did not pass; its report follows when it has ended. Without DIR it is .telltale/runs.

It changes nothing and has no users: whoever can reach the address can read the runs. It serves until
it is interrupted.`,
		Example: `  telltale view .telltale/runs/suite-20260302-093000
  telltale view --open
  telltale view results --addr 127.0.0.1:8090`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return &usageError{fmt.Errorf("view takes one directory, got %q", args)}
			}
			return nil
		},
		ValidArgsFunction: completeDirs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := filepath.Join(".telltale", "runs")
			if len(args) == 1 {
				dir = args[0]
			}
			return runView(cmd, dir, &f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.addr, "addr", "127.0.0.1:0", "`host:port` to listen on; port 0 takes a free one")
	fl.StringVar(&f.portFile, "port-file", "", "`file` to write the port number to once the server listens")
	fl.BoolVar(&f.open, "open", false, "open the page in the desktop's browser")
	fl.BoolVar(&f.allowRemote, "allow-remote", false, "permit an address that other machines can reach")
	return cmd
}

func completeDirs(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func runView(cmd *cobra.Command, dir string, f *viewFlags) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		e := &config.Error{Pos: config.Pos{File: dir}, Problem: "is not a directory", Want: "the directory of a run, or of several runs"}
		if err != nil {
			e.Problem = "cannot be read"
		}
		return e
	}
	server, err := view.New(view.Options{Dir: dir, AnyHost: f.allowRemote, Report: func(dir string, w io.Writer) error {
		finished, err := app.OpenRun(dir)
		if err != nil {
			return err
		}
		return report.HTML(w, finished.Source())
	}})
	if err != nil {
		return &app.CouldNotRun{Err: err}
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ln, err := loopback.Listen(ctx, loopback.Options{
		Addr: f.addr, AllowRemote: f.allowRemote, Example: "127.0.0.1:8090", Risk: "whoever reaches the address can read every run there",
	})
	if err != nil {
		return errors.Join(err, server.Close())
	}
	if err := writePort(f.portFile, ln.Addr()); err != nil {
		return errors.Join(err, ln.Close(), server.Close())
	}
	url := "http://" + ln.Addr().String() + "/"
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "serving %s on %s\n", dir, url); err != nil {
		return errors.Join(err, ln.Close(), server.Close())
	}
	if f.open {
		if err := openBrowser(ctx, url); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "note: no browser could be opened: %v\n", err)
		}
	}
	return errors.Join(view.Serve(ctx, ln, server), server.Close())
}

// openBrowser asks the desktop to show an address. It does not wait for the browser.
func openBrowser(ctx context.Context, url string) error {
	name, args := "xdg-open", []string{url}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	// The browser may outlive telltale.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), name, args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Process.Release()
}
