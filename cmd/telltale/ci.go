package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/telltale-llm/telltale/internal/app"
	"github.com/telltale-llm/telltale/internal/config"
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
		comment := func(w io.Writer) error { return report.Comment(w, f.Source()) }
		return errors.Join(
			report.Annotations(stderr, f.Run, at),
			report.WriteFile(filepath.Join(f.Dir, report.CommentFile), comment),
			addSummary(env("GITHUB_STEP_SUMMARY"), func(w io.Writer) error { return report.Markdown(w, f.Source()) }, comment),
			addOutputs(env("GITHUB_OUTPUT"), [][2]string{
				{"verdict", f.Run.Gate.Verdict.String()}, {"reason", f.Run.Gate.Reason},
				{"results", whole(f.Dir)}, {"comment", whole(filepath.Join(f.Dir, report.CommentFile))},
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
	err := addSummary(env("GITHUB_STEP_SUMMARY"), func(w io.Writer) error { return report.ComparisonMarkdown(w, c.Comparison, c.Gate) })
	if c.Gate == nil {
		return err
	}
	outputs := [][2]string{{"verdict", c.Gate.Verdict.String()}, {"reason", c.Gate.Reason}}
	if dir != "" {
		outputs = append(outputs, [2]string{"results", whole(dir)})
	}
	return errors.Join(err,
		report.Annotations(stderr, &record.Run{Gate: *c.Gate}, func(verdict.Decision) report.Place { return report.Place{} }),
		addOutputs(env("GITHUB_OUTPUT"), outputs))
}

// tellCIMistakes hands what kept a command from its verdict to GitHub: an annotation for each mistake, on its line where
// it has one.
func tellCIMistakes(kind string, cause error, stderr io.Writer, env func(string) string) error {
	code, text := exitCode(context.Background(), cause)
	if kind != "github" || text == "" || code == exitInterrupted {
		return nil
	}
	es, ok := errors.AsType[config.Errors](cause)
	if e, one := errors.AsType[*config.Error](cause); one && !ok {
		es = config.Errors{e}
	}
	if len(es) == 0 {
		return report.Annotate(stderr, []report.Annotation{{Level: "error", Title: "telltale", Text: strings.TrimPrefix(text, "error: ")}})
	}
	list := make([]report.Annotation, len(es))
	for i, e := range es {
		mistake := *e
		mistake.Pos = config.Pos{Key: e.Key} // the place is the annotation's own
		list[i] = report.Annotation{
			Place: app.PlaceOf(env("GITHUB_WORKSPACE"), e.Pos), Level: "error", Title: "telltale: mistake",
			Text: strings.ReplaceAll(mistake.Error(), "\n    hint: ", "; hint: "),
		}
	}
	return report.Annotate(stderr, list)
}

// whole is a path that holds from any directory: a later step may run in another one.
func whole(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// maxSummary is what GitHub takes of a step's summary, less a little; it shows nothing of a longer one.
const maxSummary = 1<<20 - 4096

// addSummary appends to the step's summary the first of texts that it still has room for.
func addSummary(path string, texts ...func(io.Writer) error) error {
	if path == "" {
		return nil
	}
	room := maxSummary
	if info, err := os.Stat(path); err == nil {
		room -= int(info.Size())
	}
	texts = append(texts, func(w io.Writer) error {
		_, err := io.WriteString(w, "The report is too long for what is left of this step's summary.")
		return err
	})
	for _, text := range texts {
		var b bytes.Buffer
		if err := text(&b); err != nil {
			return err
		}
		if b.WriteByte('\n'); b.Len() <= room {
			return appendTo(path, b.Bytes())
		}
	}
	return errors.New("the step's summary is full")
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
