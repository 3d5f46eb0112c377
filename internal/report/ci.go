package report

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/verdict"
)

// The names of the files that are written for continuous integration.
const (
	CommentFile     = "comment.md"
	CodeQualityFile = "gl-code-quality-report.json"
)

// Place is a line of a file of the repository, its path from the repository's root.
type Place struct {
	File         string
	Line, Column int
}

// Placed is a decision that did not pass, with the line of the suite that asked for it.
type Placed struct {
	verdict.Decision
	Place
}

// placed returns the decisions that did not pass. at finds the line of one; the suite file stands for what has
// no line of its own.
func placed(run *record.Run, at func(verdict.Decision) Place) []Placed {
	var out []Placed
	for _, c := range gateTests(run) {
		if c.Verdict != verdict.Pass {
			out = append(out, Placed{c, at(c)})
		}
	}
	return out
}

// Annotation is a mark that GitHub puts on a line of a file, or on the run when it has no place.
type Annotation struct {
	Place
	Level       string // error, warning or notice
	Title, Text string
}

// maxAnnotations is how many annotations of one kind GitHub keeps of a step.
const maxAnnotations = 10

// Annotate writes GitHub's workflow commands for a list, of each level as many as GitHub keeps. The last of a longer
// list says how many there are besides.
func Annotate(w io.Writer, list []Annotation) error {
	var b bytes.Buffer
	total, shown := map[string]int{}, map[string]int{}
	for _, a := range list {
		total[a.Level]++
	}
	for _, a := range list {
		shown[a.Level]++
		rest := total[a.Level] - maxAnnotations
		switch {
		case shown[a.Level] > maxAnnotations:
			continue
		case shown[a.Level] == maxAnnotations && rest > 0:
			a.Title, a.Text, a.Line, a.Column = "telltale", fmt.Sprintf("%d more; GitHub shows %d of a kind", rest+1, maxAnnotations), 0, 0
		}
		fmt.Fprintf(&b, "::%s ", a.Level)
		if a.File != "" {
			fmt.Fprintf(&b, "file=%s,", property(a.File))
		}
		if a.Line > 0 {
			fmt.Fprintf(&b, "line=%d,", a.Line)
		}
		if a.Column > 0 {
			fmt.Fprintf(&b, "col=%d,", a.Column)
		}
		fmt.Fprintf(&b, "title=%s::%s\n", property(oneLine(a.Title, 120)), message(oneLine(a.Text, 1000)))
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Annotations marks the suite's lines: an error for each check that failed, a warning for each that is undecided, and
// a notice of what is in quarantine.
func Annotations(w io.Writer, run *record.Run, at func(verdict.Decision) Place) error {
	var list []Annotation
	for _, p := range placed(run, at) {
		a := Annotation{Place: p.Place, Level: "error", Title: "telltale: " + p.Verdict.String(), Text: reasonOf(p.Decision)}
		if p.Verdict == verdict.Undecided {
			a.Level = "warning"
		}
		if p.Metric != "" {
			a.Title += ": " + checkName(p.Decision)
		}
		list = append(list, a)
	}
	if held := flaky(run).held; held != "" {
		list = append(list, Annotation{Level: "notice", Title: "telltale: quarantine", Text: held})
	}
	return Annotate(w, list)
}

// message and property escape text for a workflow command.
func message(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func property(s string) string {
	return strings.NewReplacer(":", "%3A", ",", "%2C").Replace(message(s))
}

// maxComment is what GitHub takes of a comment, less a little.
const maxComment = 65_000

// Comment writes the body of a comment on a pull request: report.md with as many of the failures as fit. Its first
// line is a mark by which the comment of an earlier run of the same suite is found.
func Comment(w io.Writer, src Source) error {
	src, err := src.digested()
	if err != nil {
		return err
	}
	mark := CommentMark(src.Run)
	for failures := 10; ; failures /= 2 {
		m := &markdown{run: src.Run, d: src.Digest, most: failures}
		m.whole(src)
		body := mark + "\n" + m.b.String()
		if len(body) > maxComment && failures > 0 {
			continue
		}
		if len(body) > maxComment {
			m = &markdown{run: src.Run, d: src.Digest}
			m.head(src)
			body = mark + "\n" + m.b.String()
			if len(body) > maxComment {
				body = body[:strings.LastIndexByte(body[:maxComment], '\n')+1]
			}
			body += "\nThe rest is too long for a comment; see " + code(MarkdownFile, keepName) + ".\n"
		}
		_, err := io.WriteString(w, body)
		return err
	}
}

// CommentMark is the line that tells the comments of one suite from those of another; readers do not see it.
func CommentMark(run *record.Run) string {
	sum := sha256.Sum256([]byte(run.Suite.Path))
	return "<!-- telltale " + hex.EncodeToString(sum[:8]) + " -->"
}

// issue is one entry of GitLab's code quality report.
type issue struct {
	Description string        `json:"description"`
	CheckName   string        `json:"check_name"`
	Fingerprint string        `json:"fingerprint"`
	Severity    string        `json:"severity"`
	Location    issueLocation `json:"location"`
}

type issueLocation struct {
	Path  string     `json:"path"`
	Lines issueLines `json:"lines"`
}

type issueLines struct {
	Begin int `json:"begin"`
}

// CodeQuality writes GitLab's code quality report: an issue for each check of the gate that did not pass, on its
// line of the suite. The fingerprint stays the same from run to run while the check does.
func CodeQuality(w io.Writer, run *record.Run, at func(verdict.Decision) Place) error {
	issues := []issue{}
	seen := map[[sha256.Size]byte]int{}
	severities := map[verdict.Verdict]string{verdict.Fail: "blocker", verdict.Error: "critical", verdict.Undecided: "major"}
	for _, p := range placed(run, at) {
		check := []string{p.File, p.Snapshot, p.Metric, p.Want}
		sum := sha256.Sum256([]byte(strings.Join(check, "\x00")))
		if seen[sum]++; seen[sum] > 1 { // GitLab shows one issue of a fingerprint
			sum = sha256.Sum256([]byte(strings.Join(append(check, strconv.Itoa(seen[sum])), "\x00")))
		}
		issues = append(issues, issue{
			Description: oneLine(reasonOf(p.Decision), 1000), CheckName: "telltale/" + oneLine(p.Metric, keepName), Fingerprint: hex.EncodeToString(sum[:16]),
			Severity: severities[p.Verdict], Location: issueLocation{Path: p.File, Lines: issueLines{Begin: max(1, p.Line)}},
		})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(issues)
}
