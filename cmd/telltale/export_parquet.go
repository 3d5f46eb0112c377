package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/export"
)

func newExportParquetCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "parquet DIR",
		Short: "Samples as a Parquet file",
		Long: `Writes one row a sample, with its scores as a list, for pandas, DuckDB, Spark and others. Variables and messages
are JSON. The columns keep their names, types and order from version to version; new ones come at the end.`,
		Example: `  telltale export parquet results --out samples.parquet
  duckdb -c "select verdict, count(*) from 'samples.parquet' group by 1"`,
		Args:              oneRun,
		ValidArgsFunction: completeDirs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if out == "" {
				return &usageError{errors.New("export parquet needs --out FILE")}
			}
			finished, err := app.OpenRun(args[0])
			if err != nil {
				return err
			}
			rows := 0
			err = toFile(cmd, out, func(w io.Writer) (err error) {
				rows, err = export.WriteParquet(w, app.ReadSamples(finished.Dir))
				return err
			})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d samples in %s\n", rows, out)
			return err
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "`file` to write")
	_ = cmd.MarkFlagFilename("out", "parquet")
	return cmd
}
