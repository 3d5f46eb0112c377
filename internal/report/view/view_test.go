package view

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/telltale-llm/telltale/internal/loopback"
	"github.com/telltale-llm/telltale/internal/record"
	"github.com/telltale-llm/telltale/internal/report"
	"github.com/telltale-llm/telltale/internal/runner"
	"github.com/telltale-llm/telltale/internal/verdict"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
}

func serve(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := New(Options{Dir: dir, Poll: 5 * time.Millisecond, Report: func(dir string, w io.Writer) error {
		_, err := fmt.Fprintf(w, "report of %s", filepath.Base(dir))
		return err
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func get(s *Server, method, target string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://127.0.0.1:1234/", nil)
	r.URL.Path = target
	r.RequestURI = target
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

const runJSON = `{"id": "r1", "suite": {"path": "s.yaml", "description": "Suite <b>"}, "summary": {"planned": 4, "finished": 4, "passed": 3, "failed": 1},
 "metrics": {}, "gate": {"verdict": "fail", "reason": "no", "checks": []}, "times": {"started": "2026-03-02T09:30:00Z"}}`

// Whatever the path, nothing outside the directory and nothing but the named files is served.
func TestNothingElseIsServed(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.txt"), "SECRET")
	write(t, filepath.Join(outside, "other", report.JSONFile), `{"id":"SECRET"}`)
	dir := filepath.Join(outside, "runs")
	write(t, filepath.Join(dir, "a", report.JSONFile), runJSON)
	write(t, filepath.Join(dir, "a", report.HTMLFile), "<p>the report")
	write(t, filepath.Join(dir, "a", "notes.txt"), "SECRET")
	write(t, filepath.Join(dir, "a", "sub", report.JSONFile), "SECRET")
	for link, to := range map[string]string{"link": "../other", "a/samples.jsonl": "../../secret.txt", "a/junit.xml": filepath.Join(outside, "secret.txt")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "a", report.MarkdownFile), 0o777); err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	for _, target := range []string{"/runs/link/", "/runs/../other/", "/runs/..%2fother/", "/runs/../", "/runs/./", "/runs/a/files/samples.jsonl", "/runs/a/files/junit.xml",
		"/runs/a/files/report.md", "/runs/a/files/notes.txt", "/runs/a/files/../../../secret.txt", "/runs/a/files/..", "/runs/a/sub/", "/runs/a/files/sub", "/runs/a\\..\\..\\other/",
		"/runs/a/files/report.html", "/files/run.json", "/../secret.txt", "/secret.txt", "/runs/missing/", "/runs/a/files/journal.jsonl", "//etc/passwd"} {
		w := get(s, http.MethodGet, target)
		if w.Code == http.StatusOK || strings.Contains(w.Body.String(), "SECRET") {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
	for target, want := range map[string]string{"/runs/a/": "<p>the report", "/runs/a/files/run.json": `"id": "r1"`} {
		w := get(s, http.MethodGet, target)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
}

func TestHeadersAndMethods(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", report.JSONFile), runJSON)
	s := serve(t, dir)
	w := get(s, http.MethodGet, "/")
	csp := w.Header().Get("Content-Security-Policy")
	if w.Code != http.StatusOK || !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") || strings.Contains(csp, "unsafe") || strings.Contains(csp, "script-src") {
		t.Errorf("the list: %d with %q", w.Code, csp)
	}
	body := w.Body.String()
	if !strings.Contains(body, `<a href="/runs/a/">a</a>`) || !strings.Contains(body, "FAILED") || !strings.Contains(body, "75.00%") || strings.Contains(body, "<b>") {
		t.Errorf("the list is %s", body)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store"} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if w := get(s, http.MethodGet, "/runs/a/"); w.Header().Get("Content-Security-Policy") != "sandbox allow-scripts; frame-ancestors 'none'" || w.Body.String() != "report of a" {
		t.Errorf("a report: %v %q", w.Header(), w.Body)
	}
	if w := get(s, http.MethodGet, "/runs/a/files/run.json"); !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("a download: %v", w.Header())
	}
	for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions} {
		if w := get(s, method, "/"); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	if w := get(s, http.MethodHead, "/"); w.Code != http.StatusOK {
		t.Errorf("HEAD: %d", w.Code)
	}
}

func TestHost(t *testing.T) {
	f := func(host string, any bool, want int) {
		t.Helper()
		s, err := New(Options{Dir: t.TempDir(), AnyHost: any})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("host %q, any %v: %d, want %d", host, any, w.Code, want)
		}
	}
	f("127.0.0.1:80", false, 200)
	f("localhost:8090", false, 200)
	f("[::1]:80", false, 200)
	f("[::1]", false, 200)
	f("evil.example", false, http.StatusMisdirectedRequest)
	f("127.0.0.1.evil.example:80", false, http.StatusMisdirectedRequest)
	f("192.168.1.4:80", false, http.StatusMisdirectedRequest)
	f("", false, http.StatusMisdirectedRequest)
	f("192.168.1.4:80", true, 200)
}

func sample(i int, v verdict.Verdict) *record.Sample {
	s := &record.Sample{Case: fmt.Sprint("case ", i), Provider: "p", Prompt: "q", Verdict: v, Output: "out <b>", Scores: []record.Score{}}
	switch v {
	case verdict.Fail:
		s.Scores = []record.Score{{Name: "equals", Pass: new(false), Value: new(0.0), Reason: "it is not"}}
	case verdict.Error:
		s.Error = "timeout: no answer within 1s"
	}
	return s
}

// The tail of a journal that the runner writes counts what the runner counts, whenever it looks.
func TestTailFollowsTheRunnersJournal(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, journalFile)
	j, err := runner.CreateJournal(path, runner.Header{ID: "x", Total: 50, Started: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var tl tail
	look := func(want report.Tally) news {
		t.Helper()
		if err := tl.read(root, time.Now()); err != nil {
			t.Fatal(err)
		}
		n := tl.news(time.Now())
		if n.Counts != want {
			t.Errorf("counts %+v, want %+v", n.Counts, want)
		}
		return n
	}
	look(report.Tally{})
	var want report.Tally
	for i := range 20 {
		v := verdict.Verdict(i % 4)
		want.Add(v)
		s := sample(i, v)
		if i%2 == 1 {
			s.Provider = "other"
		}
		if err := j.Append(i, s); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			look(want)
		}
	}
	n := look(want)
	if n.Total != 50 || n.Done != 20 || n.Rate.Value != "50.00%" || len(n.Combos) != 2 || len(n.Errors) != 1 || n.Errors[0] != (errorNews{"timeout", 5}) || n.Started != "2026-03-02 09:30:00 UTC" {
		t.Errorf("news %+v", n)
	}
	if r := n.Recent[0]; len(n.Recent) != 15 || r.Case != "case 19" || r.Why != "timeout: no answer within 1s" || n.Recent[1].Why != "equals: it is not" {
		t.Errorf("recent %+v", n.Recent)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Part of a line, as another process would see it, is not read before it is whole.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(sample(20, verdict.Pass))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"20\t" + string(line[:10]), string(line[10:])} {
		if _, err := f.WriteString(part); err != nil {
			t.Fatal(err)
		}
		look(want)
	}
	if _, err := f.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	want.Add(verdict.Pass)
	look(want)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	// A resumed run makes samples without an answer anew: they count once.
	if j, err = runner.OpenJournal(path); err != nil {
		t.Fatal(err)
	}
	for i := 3; i < 20; i += 4 {
		if err := j.Append(i, sample(i, verdict.Pass)); err != nil {
			t.Fatal(err)
		}
		want.Sub(verdict.Error)
		want.Add(verdict.Pass)
	}
	// One that was compared with the other answers to its case takes its own place.
	if err := j.Replace(2, sample(2, verdict.Pass), 0.5, 10); err != nil {
		t.Fatal(err)
	}
	want.Sub(verdict.Verdict(2))
	want.Add(verdict.Pass)
	n = look(want)
	if len(n.Errors) != 0 || n.Resumed != 1 || n.Done != 21 {
		t.Errorf("after a resumption: %+v", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	// Another run in its place starts from nothing.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := tl.read(root, time.Now()); !errors.Is(err, errNoJournal) {
		t.Errorf("without a journal: %v", err)
	}
	if j, err = runner.CreateJournal(path, runner.Header{ID: "y", Total: 3}); err != nil {
		t.Fatal(err)
	}
	if n = look(report.Tally{}); n.Total != 3 {
		t.Errorf("another journal: %+v", n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestTailRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		dir := t.TempDir()
		write(t, filepath.Join(dir, journalFile), text)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		var tl tail
		if err := tl.read(root, time.Now()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	head := `{"telltale_journal":1,"total":2}` + "\n"
	f("text\n", "not a journal")
	f(`{"telltale_journal":2}`+"\n", "not a journal")
	f(`{"telltale_journal":1,"total":99999999999}`+"\n", "more than")
	f(head+"2\t{}\n", "at byte 33: a line that is not")
	f(head+"0 {}\n", "a line that is not")
	f(head+"0\t{\n", "sample 0")
}

func FuzzTail(f *testing.F) {
	head := `{"telltale_journal":1,"total":2}` + "\n"
	for _, s := range []string{"", head, head + "0\t{\"verdict\":\"pass\"}\n0\t{\"verdict\":\"error\"}\n#{\"seconds\":1}\n", head + "\n", head + "1\t{\"scores\":[{\"pass\":false}],\"verdict\":\"fail\"}\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, journalFile), text)
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		var tl tail
		_ = tl.read(root, time.Now())
		n := tl.news(time.Now())
		if n.Done != n.Counts.Total() || n.Counts.Passed < 0 || n.Counts.Failed < 0 || n.Counts.Errored < 0 || n.Counts.Undecided < 0 {
			t.Errorf("%+v", n.Counts)
		}
	})
}

// A page that watches a run gets its state, then more, then the word that it is finished; and a server
// that stops ends the stream.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	j, err := runner.CreateJournal(filepath.Join(dir, journalFile), runner.Header{ID: "x", Total: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, dir)
	if w := get(s, http.MethodGet, "/"); !strings.Contains(w.Body.String(), "EventSource") || !strings.Contains(w.Header().Get("Content-Security-Policy"), "script-src 'sha256-") {
		t.Fatalf("the page of a running run is %s", w.Body)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ln, err := loopback.Listen(ctx, loopback.Options{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, ln, s) }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	follow := func() (*bufio.Scanner, func()) {
		resp, err := client.Get("http://" + ln.Addr().String() + "/events")
		if err != nil || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(err, resp)
		}
		return bufio.NewScanner(resp.Body), func() { _ = resp.Body.Close() }
	}
	next := func(lines *bufio.Scanner, name string) (n news) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "event: ") {
				if lines.Text() != "event: "+name {
					t.Fatalf("%q, want %s", lines.Text(), name)
				}
				lines.Scan()
				if err := json.Unmarshal([]byte(strings.TrimPrefix(lines.Text(), "data: ")), &n); err != nil {
					t.Fatal(err)
				}
				return n
			}
		}
		t.Fatalf("the stream ended before %s: %v", name, lines.Err())
		return n
	}
	lines, hangUp := follow()
	if n := next(lines, "state"); n.Done != 0 || n.Total != 2 || n.Rate.Value != "no data" {
		t.Errorf("at first %+v", n)
	}
	if err := j.Append(0, sample(0, verdict.Fail)); err != nil {
		t.Fatal(err)
	}
	n := next(lines, "state")
	for n.Done < 1 {
		n = next(lines, "state")
	}
	if n.Counts.Failed != 1 || n.Recent[0].Case != "case 0" {
		t.Errorf("then %+v", n)
	}
	write(t, filepath.Join(dir, report.JSONFile), runJSON)
	if err := os.Chtimes(filepath.Join(dir, report.JSONFile), time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() && lines.Text() != "event: finished" {
	}
	hangUp()
	if w := get(s, http.MethodGet, "/"); !strings.HasPrefix(w.Body.String(), "report of ") {
		t.Errorf("the finished run shows %q", w.Body)
	}
	// Resumed long after it had stopped, it is running again.
	if err := os.Chtimes(filepath.Join(dir, report.JSONFile), time.Now(), time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	lines, hangUp = follow()
	defer hangUp()
	next(lines, "state")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("a stopped server: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	s := serve(t, t.TempDir())
	var releases []func()
	for range maxStreams {
		_, release, ok := s.watcher("")
		if !ok {
			t.Fatal("refused too early")
		}
		releases = append(releases, release)
	}
	if _, _, ok := s.watcher(""); ok {
		t.Error("one stream too many")
	}
	for _, release := range releases {
		release()
	}
	if s.streams != 0 || len(s.watchers) != 0 {
		t.Errorf("%d streams and %d watchers are left", s.streams, len(s.watchers))
	}
}

func TestListOfRuns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "old", report.JSONFile), runJSON)
	write(t, filepath.Join(dir, "broken", report.JSONFile), "{")
	write(t, filepath.Join(dir, "open", journalFile), `{"telltale_journal":1,"total":2}`+"\n")
	write(t, filepath.Join(dir, "empty", "x"), "")
	if err := os.Chtimes(filepath.Join(dir, "old", report.JSONFile), time.Now(), time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	runs, more, err := serve(t, dir).runs()
	if err != nil || more != 0 || len(runs) != 3 {
		t.Fatalf("%+v %d %v", runs, more, err)
	}
	if l := runs[2]; l.Name != "old" || l.Word != "FAILED" || l.Rate != "75.00%" || l.Started != "2026-03-02 09:30 UTC" || l.Suite != "Suite <b>" {
		t.Errorf("%+v", l)
	}
	words := map[string]string{runs[0].Name: runs[0].Word, runs[1].Name: runs[1].Word}
	if words["broken"] != "unreadable" || words["open"] != "unfinished" {
		t.Errorf("%v", words)
	}
	if body := get(serve(t, t.TempDir()), http.MethodGet, "/").Body.String(); !strings.Contains(body, "There is no run") {
		t.Errorf("an empty directory: %s", body)
	}
}

// The rounds of answers that a gate draws are one run: their journals are counted together, as the runner writes them.
func TestTailFollowsAllRounds(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var tl tail
	look := func(want report.Tally, total, resumed int) news {
		t.Helper()
		if err := tl.read(root, time.Now()); err != nil {
			t.Fatal(err)
		}
		n := tl.news(time.Now())
		if n.Counts != want || n.Total != total || n.Done != want.Total() || n.Resumed != resumed {
			t.Errorf("%+v, %d planned, resumed %d; want %+v, %d, %d", n.Counts, n.Total, n.Resumed, want, total, resumed)
		}
		return n
	}
	create := func(name string, h runner.Header) *runner.Journal {
		t.Helper()
		j, err := runner.CreateJournal(filepath.Join(dir, name), h)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	end := func(j *runner.Journal) {
		t.Helper()
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	add := func(j *runner.Journal, i int, v verdict.Verdict) {
		t.Helper()
		if err := j.Append(i, sample(i, v)); err != nil {
			t.Fatal(err)
		}
	}
	h := runner.Header{ID: "x", Total: 4, Started: time.Date(2026, 3, 2, 9, 30, 0, 0, time.UTC)}
	first := create("journal.jsonl", h)
	for i := range 4 {
		add(first, i, verdict.Pass)
	}
	if n := look(report.Tally{Passed: 4}, 4, 0); n.Round != "" {
		t.Errorf("the first round says %q", n.Round)
	}
	// The header of the next journal may be written in part.
	write(t, filepath.Join(dir, "journal.2.jsonl"), `{"telltale_jour`)
	look(report.Tally{Passed: 4}, 4, 0)
	if err := os.Remove(filepath.Join(dir, "journal.2.jsonl")); err != nil {
		t.Fatal(err)
	}
	h.Total, h.Looks = 8, []record.Look{{Repeats: 2, Margins: []record.LookMargin{{Metric: "pass_rate", Diff: new(-0.01), Bound: new(-0.04), Outcome: "underpowered"}}}}
	second := create("journal.2.jsonl", h)
	n := look(report.Tally{Passed: 4}, 12, 0)
	if want := "Round 2: the gate draws more answers to each case. After 2 answers to each case: undecided (pass_rate -0.0100, at worst -0.0400, underpowered)."; n.Round != want {
		t.Errorf("the round says %q, want %q", n.Round, want)
	}
	for i := range 3 {
		add(second, i, verdict.Error)
	}
	look(report.Tally{Passed: 4, Errored: 3}, 12, 0)
	end(first)
	end(second)
	look(report.Tally{Passed: 4, Errored: 3}, 12, 1)
	// Resumed in the second round: only its journal is written to, and the same index in the first is another sample.
	if second, err = runner.OpenJournal(filepath.Join(dir, "journal.2.jsonl")); err != nil {
		t.Fatal(err)
	}
	add(second, 1, verdict.Pass)
	add(second, 7, verdict.Fail)
	n = look(report.Tally{Passed: 5, Failed: 1, Errored: 2}, 12, 1)
	if len(n.Errors) != 1 || n.Errors[0].N != 2 {
		t.Errorf("errors %+v", n.Errors)
	}
	end(second)
	// A later round that is gone, or of another run.
	other := h
	other.ID = "y"
	if err := os.Remove(filepath.Join(dir, "journal.2.jsonl")); err != nil {
		t.Fatal(err)
	}
	look(report.Tally{Passed: 4}, 4, 1)
	end(create("journal.2.jsonl", other))
	if err := tl.read(root, time.Now()); err == nil || !strings.Contains(err.Error(), "journal.2.jsonl at byte 0: it is the journal of another run") {
		t.Errorf("another run's round: %v", err)
	}
	if n := tl.news(time.Now()); n.Done != 4 {
		t.Errorf("after it: %+v", n)
	}
}

// A line that cannot be read stays what it is: the samples before it are counted once, however often one looks.
func TestTailDoesNotCountTwice(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, journalFile), `{"telltale_journal":1,"total":2}`+"\n0\t{\"verdict\":\"pass\"}\nbad\n")
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var tl tail
	for range 3 {
		if err := tl.read(root, time.Now()); err == nil {
			t.Error("a bad line was read")
		}
		if n := tl.news(time.Now()); n.Done != 1 || n.Total != 2 {
			t.Errorf("%+v", n)
		}
	}
}

// A run that is resumed in a later round is under way, though its first journal is older than run.json.
func TestResumedInALaterRound(t *testing.T) {
	dir := t.TempDir()
	head := `{"telltale_journal":1,"total":2}` + "\n"
	for _, name := range []string{report.JSONFile, "journal.jsonl", "journal.2.jsonl"} {
		text := head
		if name == report.JSONFile {
			text = runJSON
		}
		write(t, filepath.Join(dir, name), text)
	}
	at := func(name string, ago time.Duration) {
		when := time.Now().Add(-ago)
		if err := os.Chtimes(filepath.Join(dir, name), when, when); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, dir)
	at("journal.jsonl", time.Hour)
	at(report.JSONFile, time.Hour)
	at("journal.2.jsonl", time.Hour)
	if got := stateOf(s.root); got != finished {
		t.Errorf("stopped: %d", got)
	}
	at("journal.2.jsonl", time.Minute)
	if got := stateOf(s.root); got != running {
		t.Errorf("resumed: %d", got)
	}
}
