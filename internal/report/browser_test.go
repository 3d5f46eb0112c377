package report

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPageInBrowser opens pages in the browser named by TELLTALE_BROWSER, such as /usr/bin/chromium, and
// looks at what its script made of them.
func TestPageInBrowser(t *testing.T) {
	browser := os.Getenv("TELLTALE_BROWSER")
	if browser == "" {
		t.Skip("TELLTALE_BROWSER does not name a Chromium")
	}
	two := newDemo()
	two.cases, two.providers, two.expects = 1200, []string{"a", "b"}, true
	f := func(src Source, fragment string, wants ...string) {
		t.Helper()
		dir := t.TempDir()
		if err := WriteDir(dir, src); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
			"--disable-sync", "--user-data-dir="+t.TempDir(), "--virtual-time-budget=20000", "--dump-dom", "file://"+filepath.Join(dir, HTMLFile)+fragment)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		page := string(out)
		for _, w := range append(wants, `data-ready="1"`) {
			if !strings.Contains(page, w) {
				t.Errorf("the page lacks %q", w)
			}
		}
		if strings.Contains(page, `class="row"`) {
			t.Error("the plain rows are still there")
		}
	}
	f(two.source(), "", "All 2,400 samples", `aria-setsize="2400"`, `role="option"`, `<option value="letters">letters (600)</option>`)
	f(two.source(), "#sample-7", `<h2 id="sample-name">1006</h2>`, "The same case elsewhere", "against expected")
	f(hostileCase().src, "#sample-1", "All 2 samples", "&lt;/script&gt;&lt;script&gt;alert(1)")
	f(passedCase().src, "", "All 16 samples")
}

// TestDiffScript checks the page's diff on many pairs, where node is installed.
func TestDiffScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	const check = `
const same = (x, y) => { if (JSON.stringify(x) !== JSON.stringify(y)) throw new Error(JSON.stringify(x) + " is not " + JSON.stringify(y)); };
same(differences("", ""), []);
same(differences("a b", "a b"), [[0, "a b"]]);
same(differences("", "new"), [[1, "new"]]);
same(differences("the quick brown fox", "the slow brown cat"), [[0, "the "], [-1, "quick"], [1, "slow"], [0, " brown "], [-1, "fox"], [1, "cat"]]);
same(differences("one two three", "1 2 three"), [[-1, "one two"], [1, "1 2"], [0, " three"]]);
same(differences("価格は100円", "価格は200円").filter((p) => p[0] !== 0).length > 0, true);
const both = (a, b) => {
  const d = differences(a, b);
  same(d.filter((p) => p[0] <= 0).map((p) => p[1]).join(""), a);
  same(d.filter((p) => p[0] >= 0).map((p) => p[1]).join(""), b);
  for (let i = 1; i < d.length; i++) same(d[i][0] !== d[i - 1][0], true);
};
let seed = 1;
const next = (n) => { seed = (seed * 1103515245 + 12345) & 0x7fffffff; return seed % n; };
const pieces = ["a", "b", "cc", " ", "  ", "\n", ".", ",", "é", "日本", "👩‍🚀"];
const text = () => { let s = ""; for (let n = next(12); n > 0; n--) s += pieces[next(pieces.length)]; return s; };
for (let i = 0; i < 20000; i++) both(text(), text());
let long = ["", ""];
for (let i = 0; i < 20000; i++) long = long.map((s) => s + "w" + next(1000) + " ");
both(long[0], long[1]);
`
	cmd := exec.CommandContext(t.Context(), node, "-e", `"use strict";`+diffScript+check)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
