package main

import (
	"cmp"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

// completeSides offers stored baselines and the directories of runs, and those that may lead to one.
func completeSides(_ *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) >= 2 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	directive := cobra.ShellCompDirectiveNoFileComp
	names := baselineNames("")
	parent, _ := filepath.Split(word)
	entries, _ := os.ReadDir(cmp.Or(parent, ".")) // there is nothing to offer in what cannot be read
	for _, e := range entries {
		path := parent + e.Name()
		if info, err := os.Stat(path); err != nil || !info.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if _, err := os.Stat(filepath.Join(path, report.JSONFile)); err != nil {
			path += string(filepath.Separator)
		}
		names = append(names, path)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, word) })
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 1 && os.IsPathSeparator(names[0][len(names[0])-1]) {
		directive |= cobra.ShellCompDirectiveNoSpace // the path goes on
	}
	return names, directive
}

// completeMetrics offers the metrics of the base, each with a suffix that the shell writes no space after.
func completeMetrics(suffix string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		directive := cobra.ShellCompDirectiveNoFileComp
		if suffix != "" {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		var names []string
		if run := completedRun(args, 0); run != nil {
			for _, name := range slices.Sorted(maps.Keys(run.Metrics)) {
				names = append(names, name+suffix)
			}
		}
		return names, directive
	}
}

func provider(s record.Snapshot) string { return s.Provider }
func prompt(s record.Snapshot) string   { return s.Prompt }

// completeSnapshots offers what the snapshots of a side are called; the head is the base where it is not given yet.
func completeSnapshots(side int, label func(record.Snapshot) string) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		var names []string
		if run := completedRun(args, min(side, len(args)-1)); run != nil {
			for _, s := range run.Snapshots {
				names = append(names, label(s))
			}
		}
		slices.Sort(names)
		return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
	}
}

// completedRun is the run of an argument that was given already, or nil.
func completedRun(args []string, i int) *record.Run {
	if i < 0 || i >= len(args) {
		return nil
	}
	side, err := app.OpenSide(args[i])
	if err != nil {
		return nil
	}
	return side.Run
}
