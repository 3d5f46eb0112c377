package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// scriptPatience is how long scripts wait for what a server does by itself.
const scriptPatience = 30 * time.Second

// patiently asks until there is an answer.
func patiently(ts *testscript.TestScript, what string, ask func() bool) {
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ask() {
			return
		}
	}
	ts.Fatalf("after %v: %s", scriptPatience, what)
}

var listensRE = regexp.MustCompile(`(?m)^(gateway|api) on (http://\S+)$`)

// listening waits until the output of telltale serve, in a file, says where it listens, and sets GATEWAY, API and
// TELLTALE_SERVER.
func listening(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listening FILE")
	}
	var text []byte
	patiently(ts, "serve does not say where it listens", func() bool {
		var err error
		text, err = os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && bytes.Contains(text, []byte("\napi on http")) && bytes.HasSuffix(text, []byte("\n"))
	})
	for _, m := range listensRE.FindAllStringSubmatch(string(text), -1) {
		ts.Setenv(strings.ToUpper(m[1]), m[2])
	}
	ts.Setenv("TELLTALE_SERVER", ts.Getenv("API"))
}

// sends sends a request that must be answered with a status, and writes the answer's body to a file. It waits until a
// status written as ~STATUS is answered.
func sends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: sends [~]STATUS METHOD URL OUT [BODY-FILE [NAME:VALUE…]]")
	}
	want, waits := strings.CutPrefix(args[0], "~")
	status, got := answered(ts, args[1:])
	if waits {
		patiently(ts, "the answer stays "+status, func() bool {
			if strings.HasPrefix(status, want) {
				return true
			}
			status, got = answered(ts, args[1:])
			return false
		})
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), got, 0o600))
	if !strings.HasPrefix(status, want) {
		ts.Fatalf("%s, want %s: %s", status, want, got)
	}
}

// answered sends a request once.
func answered(ts *testscript.TestScript, args []string) (status string, body []byte) {
	var in io.Reader
	if len(args) > 3 {
		in = strings.NewReader(ts.ReadFile(args[3]))
	}
	req, err := http.NewRequest(args[0], args[1], in)
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	for _, h := range args[min(len(args), 4):] {
		name, value, _ := strings.Cut(h, ":")
		if req.Header.Set(name, value); name == "Host" {
			req.Host = value
		}
	}
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	ts.Check(err)
	return resp.Status, body
}

// says waits until a value of the server's status is the given one, or is there at all.
func says(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: says PATH [VALUE]")
	}
	last := ""
	patiently(ts, fmt.Sprintf("status does not say %q", args), func() bool {
		req, err := http.NewRequest(http.MethodGet, ts.Getenv("API")+"/v1/status", nil)
		ts.Check(err)
		if key := ts.Getenv("TELLTALE_API_KEY"); key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			last = err.Error()
			return false
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		ts.Check(err)
		last = string(b)
		var v any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if d.Decode(&v) != nil {
			return false
		}
		got, ok := lookup(v, args[0])
		return ok && got != nil && (len(args) == 1 || fmt.Sprint(got) == args[1])
	})
	ts.Logf("%s", last)
}

// first sets a variable to a value in a JSON file.
func first(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: first FILE PATH NAME")
	}
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &v))
	got, ok := lookup(v, args[1])
	if !ok {
		ts.Fatalf("%s: no %s", args[0], args[1])
	}
	ts.Setenv(args[2], fmt.Sprint(got))
}
