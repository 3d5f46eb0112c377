package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
)

// terminalWidth returns the width of w when it is a terminal.
func terminalWidth(w io.Writer) (width int, ok bool) {
	f, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(f.Fd())) {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		width = 80
	}
	return width, true
}

func terminalOptions(w io.Writer, color, dir string) report.TerminalOptions {
	width, isTerminal := terminalWidth(w) // 0 for what is not a terminal: report's 80 columns
	o := report.TerminalOptions{Width: width, Dir: dir, Color: color == "always"}
	if color == "auto" {
		o.Color = isTerminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && os.Getenv("CI") == ""
	}
	o.ASCII = isTerminal && !utf8Locale()
	return o
}

// utf8Locale says whether the terminal can show what is not ASCII.
func utf8Locale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// progress shows how far a run is.
type progress interface {
	start(total, done int, dir string)
	update(runner.Progress)
	note(text string)
	finish()
}

// newProgress returns a bar on a terminal, and plain lines elsewhere.
func newProgress(w io.Writer) progress {
	if _, ok := terminalWidth(w); ok && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb" {
		return &bar{w: w}
	}
	return &lines{w: w}
}

type silent struct{}

func (silent) start(int, int, string) {}
func (silent) update(runner.Progress) {}
func (silent) note(string)            {}
func (silent) finish()                {}

// bar is a progress bar.
type bar struct {
	w   io.Writer
	mu  sync.Mutex
	bar *progressbar.ProgressBar
}

func (b *bar) start(total, done int, _ string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil { // more samples than were planned at first
		b.bar.ChangeMax(total)
		return
	}
	b.bar = progressbar.NewOptions(total,
		progressbar.OptionSetWriter(b.w), progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("samples"),
		progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetTheme(barTheme()))
	if done > 0 {
		_ = b.bar.Set(done)
	}
}

// barTheme is what the bar is drawn with, in ASCII where the terminal shows nothing else.
func barTheme() progressbar.Theme {
	if !utf8Locale() {
		return progressbar.Theme{Saucer: "=", SaucerPadding: " ", BarStart: "[", BarEnd: "]"}
	}
	return progressbar.Theme{Saucer: "━", SaucerPadding: " ", BarStart: "▕", BarEnd: "▏"}
}

func (b *bar) update(p runner.Progress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil {
		return
	}
	b.bar.Describe(counts(p))
	_ = b.bar.Set(p.Done)
}

func (b *bar) note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
	fmt.Fprintln(b.w, text)
}

func (b *bar) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}

func counts(p runner.Progress) string {
	format := "✓ %d ✗ %d"
	if !utf8Locale() {
		format = "+ %d x %d"
	}
	s := fmt.Sprintf(format, p.Passed, p.Failed)
	if p.Errored > 0 {
		s += fmt.Sprintf(" ! %d", p.Errored)
	}
	if p.Cost > 0 {
		s += fmt.Sprintf(" $%.2f", p.Cost)
	}
	return s
}

// lines prints a plain line at every tenth of the run and every ten seconds, for logs.
type lines struct {
	w       io.Writer
	mu      sync.Mutex
	began   time.Time
	printed time.Time
	tenth   int
	first   int
}

const lineEvery = 10 * time.Second

func (l *lines) start(total, done int, dir string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.began, l.printed, l.first = time.Now(), time.Now(), done
	if total > 0 {
		l.tenth = done * 10 / total
	}
	if done > 0 {
		fmt.Fprintf(l.w, "%d samples, %d of them done already, results in %s\n", total, done, dir)
		return
	}
	fmt.Fprintf(l.w, "%d samples, results in %s\n", total, dir)
}

func (l *lines) update(p runner.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	tenth := p.Done * 10 / max(p.Total, 1)
	since := now.Sub(l.printed)
	// A run of a few seconds needs no more than its beginning and its result.
	if since < lineEvery && (tenth == l.tenth || since < time.Second) {
		return
	}
	l.printed, l.tenth = now, tenth
	line := fmt.Sprintf("%d/%d samples (%d%%): %d passed, %d failed, %d errors", p.Done, p.Total, p.Done*100/max(p.Total, 1), p.Passed, p.Failed, p.Errored)
	if p.Cost > 0 {
		line += fmt.Sprintf(", $%.2f", p.Cost)
	}
	if made := p.Done - l.first; made > 0 && p.Done < p.Total {
		left := time.Duration(float64(now.Sub(l.began)) / float64(made) * float64(p.Total-p.Done))
		line += fmt.Sprintf(", about %s left", left.Round(time.Second))
	}
	fmt.Fprintln(l.w, line)
}

func (l *lines) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, text)
}

func (l *lines) finish() {}

// byteBar shows how much of a file has been read; nothing where there is no terminal.
type byteBar struct {
	w   io.Writer
	on  bool
	of  string
	bar *progressbar.ProgressBar
}

func newByteBar(w io.Writer, of string) *byteBar {
	_, ok := terminalWidth(w)
	return &byteBar{w: w, of: of, on: ok && os.Getenv("CI") == "" && os.Getenv("TERM") != "dumb"}
}

func (b *byteBar) set(done, total int64) {
	if !b.on {
		return
	}
	if b.bar == nil {
		b.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(b.w), progressbar.OptionShowBytes(true), progressbar.OptionSetDescription(b.of),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionSetPredictTime(true), progressbar.OptionFullWidth(), progressbar.OptionClearOnFinish(), progressbar.OptionSetTheme(barTheme()))
	}
	_ = b.bar.Set64(done)
}

func (b *byteBar) done() {
	if b.bar != nil {
		_ = b.bar.Clear()
	}
}
