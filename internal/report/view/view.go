// Package view serves the results of runs to a browser on the same machine: the report of a finished
// run, the state of one that is under way, and a list when a directory holds several.
//
// It is not a server for others: it listens on loopback unless told otherwise, has no users, changes
// nothing, and answers GET only. Data passes through it like this: the run's journal is read as it
// grows → counts → server-sent events → the page, which asks for the report as soon as run.json is
// there. Files are reached through an os.Root and by fixed names, so that no path leads out of the
// directory; pages come with a policy that allows their own style and script only, and a report, which
// is a file that anyone may have written, runs in a sandbox.
package view

import (
	"bytes"
	"cmp"
	_ "embed" // the pages' parts
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
)

//go:embed assets/live.html.tmpl
var liveTemplate string

//go:embed assets/runs.html.tmpl
var runsTemplate string

//go:embed assets/live.js
var liveScript string

//go:embed assets/view.css
var viewStyle string

// The names of the files that runs have besides those of package report. The runner writes them.
const (
	samplesFile = "samples.jsonl"
	journalFile = "journal.jsonl"
)

// maxRounds bounds the journals of a run; the runner writes no more.
const maxRounds = 8

// roundFile is the journal of a round of answers, from 1.
func roundFile(n int) string {
	if n == 1 {
		return journalFile
	}
	return fmt.Sprintf("journal.%d.jsonl", n)
}

// Options says what to serve.
type Options struct {
	// Dir is the directory of a run, or of several runs.
	Dir string
	// Report writes the report of the finished run in dir; it is asked for when report.html is missing.
	Report func(dir string, w io.Writer) error
	// AnyHost answers requests whatever host they name. Without it the host must be a loopback
	// address or localhost, so that no page of another origin can read the runs through a name that
	// it makes point here.
	AnyHost bool
	// Poll is how often a running run's journal is read; 0 means half a second.
	Poll time.Duration
}

// Server is the handler. It is safe for concurrent use.
type Server struct {
	o     Options
	root  *os.Root
	pages *template.Template
	serve http.Handler

	mu       sync.Mutex
	watchers map[string]*watcher // by the run's name; "" is the directory itself
	streams  int                 // open streams of events
}

// maxStreams bounds the open streams of events.
const maxStreams = 64

// New opens the directory. It starts nothing; Close lets the directory go.
func New(o Options) (*Server, error) {
	if o.Poll <= 0 {
		o.Poll = 500 * time.Millisecond
	}
	root, err := os.OpenRoot(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("view: %w", err)
	}
	s := &Server{o: o, root: root, watchers: map[string]*watcher{}}
	s.pages = template.New("")
	for name, text := range map[string]string{"live": liveTemplate, "runs": runsTemplate} {
		if _, err := s.pages.New(name).Parse(text); err != nil {
			return nil, errors.Join(fmt.Errorf("view: %w", err), root.Close())
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.home)
	mux.HandleFunc("GET /events", s.one(s.events))
	mux.HandleFunc("GET /files/{file}", s.one(s.file))
	mux.HandleFunc("GET /runs/{run}", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.EscapedPath()+"/", http.StatusMovedPermanently)
	})
	mux.HandleFunc("GET /runs/{run}/{$}", s.one(s.run))
	mux.HandleFunc("GET /runs/{run}/events", s.one(s.events))
	mux.HandleFunc("GET /runs/{run}/files/{file}", s.one(s.file))
	s.serve = http.NewCrossOriginProtection().Handler(mux)
	return s, nil
}

// Close lets the directory go. No request may be under way.
func (s *Server) Close() error { return s.root.Close() }

// ServeHTTP checks what every request must be, and sets the headers that every answer has.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	switch {
	case !s.o.AnyHost && !loopback.Host(r.Host):
		http.Error(w, "This server answers to loopback names only.", http.StatusMisdirectedRequest)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "Nothing can be changed here.", http.StatusMethodNotAllowed)
	default:
		s.serve.ServeHTTP(w, r)
	}
}

// at is the run a request is about.
type at struct {
	name string // below the directory; "" is the directory itself
	root *os.Root
}

// one opens the run that the path names for a handler.
func (s *Server) one(f func(http.ResponseWriter, *http.Request, at)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.PathValue("run")
		a, err := s.open(name)
		if err != nil {
			http.NotFound(w, r)
			return
		}
		// It was opened for reading.
		defer func() { _ = a.root.Close() }()
		f(w, r, a)
	}
}

// open opens a run by its name, which must be that of a folder directly below the directory.
func (s *Server) open(name string) (at, error) {
	if name == "" {
		root, err := s.root.OpenRoot(".")
		return at{"", root}, err
	}
	if name != filepath.Base(name) || !filepath.IsLocal(name) || name == "." || strings.ContainsAny(name, `/\`) {
		return at{}, fs.ErrNotExist
	}
	root, err := s.root.OpenRoot(name)
	if err != nil {
		return at{}, err
	}
	if state := stateOf(root); state == nothing {
		return at{}, errors.Join(fs.ErrNotExist, root.Close())
	}
	return at{name, root}, nil
}

// state is how far the run in a folder is.
type state uint8

const (
	nothing  state = iota // there is no run
	running               // a journal is written, or was when the process ended
	finished              // run.json is there
)

// late is by how much a journal must be younger than run.json for a stopped run to count as resumed:
// closing the journal after the results are written takes less.
const late = 5 * time.Second

func stateOf(root *os.Root) state {
	run, runErr := root.Stat(report.JSONFile)
	journal, open := journalWritten(root)
	done := runErr == nil && run.Mode().IsRegular()
	switch {
	case done && open && journal.After(run.ModTime().Add(late)):
		return running
	case done:
		return finished
	case open:
		return running
	}
	return nothing
}

// journalWritten is when any of a run's journals was last written to; ok is false without the first one.
func journalWritten(root *os.Root) (last time.Time, ok bool) {
	for n := 1; n <= maxRounds; n++ {
		info, err := root.Stat(roundFile(n))
		if err != nil || !info.Mode().IsRegular() {
			return last, n > 1
		}
		if info.ModTime().After(last) {
			last = info.ModTime()
		}
	}
	return last, true
}

// home shows the run in the directory, or the runs below it.
func (s *Server) home(w http.ResponseWriter, r *http.Request) {
	if stateOf(s.root) != nothing {
		s.one(s.run)(w, r)
		return
	}
	s.list(w, r)
}

// run shows the report of a finished run and the state of another.
func (s *Server) run(w http.ResponseWriter, r *http.Request, a at) {
	if stateOf(a.root) == running {
		s.page(w, "live", liveScript, map[string]any{"Name": s.title(a)})
		return
	}
	// The report's own policy is inside it; the sandbox holds even if someone has changed the file.
	w.Header().Set("Content-Security-Policy", "sandbox allow-scripts; frame-ancestors 'none'")
	f, err := a.root.Open(report.HTMLFile)
	if err == nil {
		defer f.Close()
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			http.ServeContent(w, r, "", info.ModTime(), f)
			return
		}
	}
	if s.o.Report == nil {
		http.Error(w, "The run has no report.html.", http.StatusNotFound)
		return
	}
	var b bytes.Buffer
	if err := s.o.Report(filepath.Join(s.o.Dir, a.name), &b); err != nil {
		http.Error(w, "The report cannot be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// title is what a run's page is called.
func (s *Server) title(a at) string {
	if a.name != "" {
		return a.name
	}
	if abs, err := filepath.Abs(s.o.Dir); err == nil {
		return filepath.Base(abs)
	}
	return s.o.Dir
}

// downloads are the files of a run that can be fetched, with their types. Text types keep browsers
// from running anything in them.
var downloads = map[string]string{
	report.JSONFile:     "application/json",
	samplesFile:         "application/jsonl",
	report.JUnitFile:    "application/octet-stream",
	report.MarkdownFile: "text/plain; charset=utf-8",
}

func (s *Server) file(w http.ResponseWriter, r *http.Request, a at) {
	name := r.PathValue("file")
	kind, ok := downloads[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	f, err := a.root.Open(name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	http.ServeContent(w, r, "", info.ModTime(), f)
}

// page writes one of the server's own pages.
func (s *Server) page(w http.ResponseWriter, name, script string, data map[string]any) {
	style := report.Style() + viewStyle
	data["Style"], data["Script"] = template.CSS(style), template.JS(script)
	var b bytes.Buffer
	if err := s.pages.ExecuteTemplate(&b, name, data); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	policy := "default-src 'none'; style-src " + report.SourceHash(style) + "; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
	if script != "" {
		policy += "; script-src " + report.SourceHash(script) + "; require-trusted-types-for 'script'; trusted-types 'none'"
	}
	w.Header().Set("Content-Security-Policy", policy)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// listed is a line of the list of runs.
type listed struct {
	Name, Suite, Class, Mark, Word, Rate, Interval, Samples, Started, Cost string
	changed                                                                time.Time
}

// What the list of runs reads at most.
const (
	maxRuns    = 500
	maxRunJSON = 16 << 20
)

// list shows the runs below the directory, the latest first.
func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	runs, more, err := s.runs()
	if err != nil {
		http.Error(w, "The directory cannot be read: "+err.Error(), http.StatusInternalServerError)
		return
	}
	s.page(w, "runs", "", map[string]any{"Dir": s.o.Dir, "Runs": runs, "More": more})
}

func (s *Server) runs() (runs []listed, more int, err error) {
	dir, err := s.root.Open(".")
	if err != nil {
		return nil, 0, err
	}
	defer dir.Close()
	entries, err := dir.ReadDir(-1)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range entries {
		a, err := s.open(e.Name())
		if err != nil {
			continue
		}
		state, changed := stateOf(a.root), time.Time{}
		if state != finished {
			changed, _ = journalWritten(a.root)
		} else if info, err := a.root.Stat(report.JSONFile); err == nil {
			changed = info.ModTime()
		}
		_ = a.root.Close()
		runs = append(runs, listed{Name: a.name, Class: "measured", Mark: "…", Word: "unfinished", changed: changed})
		if state == finished {
			runs[len(runs)-1].Word = ""
		}
	}
	slices.SortFunc(runs, func(a, b listed) int { return cmp.Or(b.changed.Compare(a.changed), cmp.Compare(a.Name, b.Name)) })
	more = max(len(runs)-maxRuns, 0)
	runs = runs[:len(runs)-more]
	for i := range runs {
		if runs[i].Word == "" {
			s.summarise(&runs[i])
		}
	}
	return runs, more, nil
}

// summarise reads a finished run's verdict and counts.
func (s *Server) summarise(l *listed) {
	l.Class, l.Mark, l.Word = "undecided", "?", "unreadable"
	f, err := s.root.Open(filepath.Join(l.Name, report.JSONFile))
	if err != nil {
		return
	}
	defer f.Close()
	var run record.Run
	if err := json.NewDecoder(io.LimitReader(f, maxRunJSON)).Decode(&run); err != nil {
		return
	}
	v := run.Gate.Verdict
	l.Class, l.Mark, l.Word = v.String(), report.Mark(v), report.Word(v)
	l.Suite = report.Name(&run)
	rate := report.PassRate(&run)
	l.Rate, l.Interval = rate.Value, rate.Interval
	l.Samples = report.Count(run.Summary.Finished)
	if run.Summary.Unpriced < run.Summary.Finished {
		l.Cost = report.Dollars(run.Summary.Cost)
	}
	if !run.Times.Started.IsZero() {
		l.Started = run.Times.Started.UTC().Format("2006-01-02 15:04 UTC")
	}
}
