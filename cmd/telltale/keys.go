package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/access"
	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
)

func newKeysCmd() *cobra.Command {
	var file, server string
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Give clients of the gateway and the API keys, and take them back",
		Long: `Gives clients keys of their own and takes them back. The file holds only hashes: a key is shown once, when it is
made. A running server reads the file again when it changes.

A key with --route api may use the HTTP API and the OTLP endpoints; one without --route may use every route of the
gateway, and not the API. docs/gateway.md has more.`,
		Example: `  telltale keys add ci --route support --requests 600 --budget 5 --expires 90d
  telltale keys add grafana --route api
  telltale keys revoke ci`,
		Args: subcommandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	fl := cmd.PersistentFlags()
	fl.StringVar(&file, "file", "", "`file` of the keys (default: the one that the server's configuration names, or keys.yaml)")
	fl.StringVarP(&server, "config", "c", "server.yaml", "the server's configuration `file`")
	open := func(routes []string) (*access.Keys, string, error) {
		path := file
		if path == "" {
			path = filepath.Join(filepath.Dir(server), "keys.yaml")
			if _, err := os.Stat(server); err == nil {
				s, err := app.LoadServerNames(server, os.LookupEnv)
				if err != nil {
					return nil, "", err
				}
				if err := knownRoutes(s, routes); err != nil {
					return nil, "", err
				}
				path = s.Access.File
			}
		}
		k, err := access.Open(access.Options{File: path, Now: time.Now})
		return k, path, err
	}
	cmd.AddCommand(newKeysAddCmd(open), newKeysListCmd(open), newKeysRevokeCmd(open))
	return cmd
}

// openKeys opens the file of keys. Routes are those that a new key is to name.
type openKeys func(routes []string) (keys *access.Keys, path string, err error)

// knownRoutes keeps a slip of the pen from making a key that opens nothing.
func knownRoutes(s *config.Server, routes []string) error {
	names := []string{config.APIScope}
	for _, r := range s.Routes {
		names = append(names, r.Name)
	}
	for _, r := range routes {
		if !slices.Contains(names, r) {
			return &config.Error{Pos: config.Pos{Key: "--route"}, Value: r, Problem: "there is no such route", Want: "one of " + strings.Join(names, ", ")}
		}
	}
	return nil
}

func newKeysAddCmd(open openKeys) *cobra.Command {
	var e access.Entry
	var expires, format string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a key and show it once",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			e.Name = args[0]
			if expires != "" {
				d, err := config.ParseDays(expires)
				if err != nil {
					return &usageError{fmt.Errorf("--expires %q: want a time from now such as 90d or 12h", expires)}
				}
				e.Expires = time.Now().Add(d).UTC().Truncate(time.Second)
			}
			for name, v := range map[string]float64{"requests": e.Requests, "tokens": e.Tokens, "budget": e.Budget} {
				if !(v >= 0) {
					return &usageError{fmt.Errorf("--%s %v: want a number from 0", name, v)}
				}
			}
			keys, path, err := open(e.Routes)
			if err != nil {
				return err
			}
			key, made, err := keys.Issue(e)
			if err != nil {
				return err
			}
			if format == "json" {
				return writeJSON(cmd, struct {
					Name string `json:"name"`
					Key  string `json:"key"`
					File string `json:"file"`
				}{made.Name, key, path})
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is in %s; the key is shown this once:\n", made.Name, path)
			_, err = fmt.Fprintln(cmd.OutOrStdout(), key)
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&e.Routes, "route", nil, "`names` of routes that it may use, or api; may be repeated; every route of the gateway when it is not set")
	fl.Float64Var(&e.Requests, "requests", 0, "most requests a minute; 0 for no limit")
	fl.Float64Var(&e.Tokens, "tokens", 0, "most tokens a minute; 0 for no limit")
	fl.Float64Var(&e.Budget, "budget", 0, "most US dollars a day; 0 for no limit")
	fl.StringVar(&expires, "expires", "", "`time` from now after which it ends, such as 90d or 12h; never when it is not set")
	formatFlag(cmd, &format)
	return cmd
}

func oneName(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{fmt.Errorf("%s takes the name of one key, got %q", cmd.CommandPath(), args)}
	}
	return nil
}

func newKeysListCmd(open openKeys) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys by name",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("format", format, compareFormats); err != nil {
				return err
			}
			keys, _, err := open(nil)
			if err != nil {
				return err
			}
			type row struct {
				Name     string    `json:"name"`
				State    string    `json:"state"`
				Routes   []string  `json:"routes"`
				Created  time.Time `json:"created"`
				Expires  time.Time `json:"expires,omitzero"`
				Requests float64   `json:"requests_a_minute,omitempty"`
				Tokens   float64   `json:"tokens_a_minute,omitempty"`
				Budget   float64   `json:"usd_a_day,omitempty"`
			}
			rows := []row{}
			for _, e := range keys.Entries() {
				r := row{e.Name, "valid", append([]string{}, e.Routes...), e.Created, e.Expires, e.Requests, e.Tokens, e.Budget}
				switch {
				case e.Revoked:
					r.State = "revoked"
				case !e.Expires.IsZero() && time.Now().After(e.Expires):
					r.State = "expired"
				}
				rows = append(rows, r)
			}
			if format == "json" {
				return writeJSON(cmd, rows)
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), "no keys; telltale keys add makes one")
				return err
			}
			for _, r := range rows {
				routes := "all routes"
				if len(r.Routes) > 0 {
					routes = strings.Join(r.Routes, ", ")
				}
				until := "never ends"
				if !r.Expires.IsZero() {
					until = "until " + r.Expires.UTC().Format(time.DateOnly)
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%-24s %-8s %-16s %s\n", r.Name, r.State, until, routes); err != nil {
					return err
				}
			}
			return nil
		},
	}
	formatFlag(cmd, &format)
	return cmd
}

func newKeysRevokeCmd(open openKeys) *cobra.Command {
	return &cobra.Command{
		Use:   "revoke NAME",
		Short: "End a key",
		Args:  oneName,
		RunE: func(cmd *cobra.Command, args []string) error {
			keys, _, err := open(nil)
			if err != nil {
				return err
			}
			if err := keys.Revoke(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is revoked\n", args[0])
			return err
		},
	}
}
