package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/verdict"
)

var ciKinds = []string{"auto", "github", "gitlab", "none"}

// ciKind is the service that runs this process, as --ci says or, for auto, as the environment does.
func ciKind(flag string, env func(string) string) string {
	switch {
	case flag != "auto":
		return flag
	case env("GITHUB_ACTIONS") == "true":
		return "github"
	case env("GITLAB_CI") == "true":
		return "gitlab"
	}
	return "none"
}

// tellCI hands a finished run to the service that runs this process: annotations, summary and outputs on GitHub, a
// code quality report on GitLab. Its errors are for the user to know; they change no verdict.
func tellCI(kind string, f *app.Finished, stderr io.Writer, env func(string) string) error {
	switch kind {
	case "github":
		at := func(d verdict.Decision) report.Place { return f.Place(env("GITHUB_WORKSPACE"), d) }
		return errors.Join(
			report.Annotations(stderr, f.Run, at),
			report.WriteFile(filepath.Join(f.Dir, report.CommentFile), func(w io.Writer) error { return report.Comment(w, f.Source()) }),
			addSummary(env("GITHUB_STEP_SUMMARY"), f),
			addOutputs(env("GITHUB_OUTPUT"), [][2]string{
				{"verdict", f.Run.Gate.Verdict.String()}, {"reason", f.Run.Gate.Reason},
				{"results", f.Dir}, {"comment", filepath.Join(f.Dir, report.CommentFile)},
			}),
		)
	case "gitlab":
		at := func(d verdict.Decision) report.Place { return f.Place(env("CI_PROJECT_DIR"), d) }
		return report.WriteFile(filepath.Join(f.Dir, report.CodeQualityFile), func(w io.Writer) error { return report.CodeQuality(w, f.Run, at) })
	}
	return nil
}

// tellCICompared hands a comparison, whose files are in dir unless that is empty, to GitHub: annotations without a
// line, as no suite asked for the margins, the summary, and outputs where there is a verdict.
func tellCICompared(kind string, c *app.Compared, dir string, stderr io.Writer, env func(string) string) error {
	if kind != "github" {
		return nil
	}
	var errs []error
	if path := env("GITHUB_STEP_SUMMARY"); path != "" {
		var b bytes.Buffer
		err := report.ComparisonMarkdown(&b, c.Comparison, c.Gate)
		if err == nil && b.Len() < maxSummary-4096 {
			err = appendTo(path, append(b.Bytes(), '\n'))
		}
		errs = append(errs, err)
	}
	if c.Gate != nil {
		errs = append(errs, report.Annotations(stderr, &record.Run{Gate: *c.Gate}, func(verdict.Decision) report.Place { return report.Place{} }))
		outputs := [][2]string{{"verdict", c.Gate.Verdict.String()}, {"reason", c.Gate.Reason}}
		if dir != "" {
			outputs = append(outputs, [2]string{"results", dir})
		}
		errs = append(errs, addOutputs(env("GITHUB_OUTPUT"), outputs))
	}
	return errors.Join(errs...)
}

// maxSummary is what GitHub takes of a step's summary.
const maxSummary = 1 << 20

// addSummary appends the run's report to the step's summary.
func addSummary(path string, f *app.Finished) error {
	if path == "" {
		return nil
	}
	var b bytes.Buffer
	err := report.Markdown(&b, f.Source())
	if err == nil && b.Len() > maxSummary-4096 {
		b.Reset()
		err = report.Comment(&b, f.Source())
	}
	if err != nil {
		return err
	}
	return appendTo(path, append(b.Bytes(), '\n'))
}

// addOutputs sets the step's outputs, names with their values.
func addOutputs(path string, outputs [][2]string) error {
	if path == "" {
		return nil
	}
	var b bytes.Buffer
	for _, o := range outputs {
		// A delimiter that the value cannot hold: nothing in it can set another output.
		end := "end-" + rand.Text()
		fmt.Fprintf(&b, "%s<<%s\n%s\n%s\n", o[0], end, strings.TrimSuffix(o[1], "\n"), end)
	}
	return appendTo(path, b.Bytes())
}

func appendTo(path string, data []byte) (err error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
