package report

import (
	"math"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPercent(t *testing.T) {
	f := func(x float64, want string) {
		t.Helper()
		if got := percent(x); got != want {
			t.Errorf("percent(%v) = %q, want %q", x, got, want)
		}
	}
	f(0, "0.00%")
	f(1, "100.00%")
	f(417.0/541, "77.08%")
	f(199999.0/200000, ">99.99%")
	f(1.0/200000, "<0.01%")
}

func TestNumber(t *testing.T) {
	f := func(x float64, want string) {
		t.Helper()
		if got := number(x); got != want {
			t.Errorf("number(%v) = %q, want %q", x, got, want)
		}
	}
	f(0, "0")
	f(1073, "1,073")
	f(-1234567, "-1,234,567")
	f(48.530827, "48.53")
	f(0.8127, "0.8127")
	f(0.5, "0.5000")
	f(12345.6, "12,346")
	f(1234.56, "1,235")
	f(0.00001234, "0.00001234")
	f(1e-9, "1.000e-09")
	f(1e18, "1.000e+18")
}

func TestSeconds(t *testing.T) {
	f := func(x float64, want string) {
		t.Helper()
		if got := seconds(x); got != want {
			t.Errorf("seconds(%v) = %q, want %q", x, got, want)
		}
	}
	f(0, "0 s")
	f(0.00042, "0.42 ms")
	f(0.0042, "4.2 ms")
	f(0.412, "412 ms")
	f(0.99951, "1.00 s")
	f(1.234, "1.23 s")
	f(12.34, "12.3 s")
	f(59.96, "1 min 00 s")
	f(125, "2 min 05 s")
	f(3720, "1 h 02 min")
}

func TestDollars(t *testing.T) {
	f := func(x float64, want string) {
		t.Helper()
		if got := dollars(x); got != want {
			t.Errorf("dollars(%v) = %q, want %q", x, got, want)
		}
	}
	f(0, "$0")
	f(0.000231, "$0.00023")
	f(0.042, "$0.042")
	f(0.42, "$0.42")
	f(1234.5, "$1,234.50")
	f(1e-12, "$1.0e-12")
}

func TestInterval(t *testing.T) {
	f := func(low, high float64, unit string, share bool, want string) {
		t.Helper()
		if got := interval(&low, &high, unit, share); got != want {
			t.Errorf("interval(%v, %v, %q) = %q, want %q", low, high, unit, got, want)
		}
	}
	f(0.7335, 0.8043, "", true, "73.35–80.43%")
	f(0.821, 0.903, "s", false, "821–903 ms")
	f(0.821, 1.1, "s", false, "821 ms–1.10 s")
	f(61, 125, "s", false, "1 min 01 s–2 min 05 s")
	f(0.1, 0.2, "usd", false, "$0.10–$0.20")
	f(88, 94.6, "words", false, "88–94.60 words")
	f(math.NaN(), 1, "", false, "")
	if got := interval(nil, nil, "", true); got != "" {
		t.Errorf("an interval of nothing is %q", got)
	}
}

// The figures of GPT-4 on IFEval, as everyone should see them.
func TestStatement(t *testing.T) {
	f := func(pass, fail int, want string) {
		t.Helper()
		r := tallyRow(Tally{Passed: pass, Failed: fail, Errored: 3})
		if got := r.statement(); got != want || r.Missing != 3 {
			t.Errorf("%d of %d: %q with %d missing, want %q", pass, pass+fail, got, r.Missing, want)
		}
	}
	f(417, 541-417, "417/541 = 77.08%, 95% 73.35–80.42%")
	f(0, 10, "0/10 = 0.00%, 95% 0.00–27.75%")
	f(10, 0, "10/10 = 100.00%, 95% 72.25–100.00%")
	f(0, 0, noData)
}

func TestQuantityOfNothing(t *testing.T) {
	for _, x := range []*float64{nil, new(math.NaN()), new(math.Inf(1))} {
		if got := quantity(x, "s", false); got != noData {
			t.Errorf("quantity = %q, want %q", got, noData)
		}
	}
}

func TestOneLine(t *testing.T) {
	f := func(in string, n int, want string) {
		t.Helper()
		if got := oneLine(in, n); got != want {
			t.Errorf("oneLine(%q, %d) = %q, want %q", in, n, got, want)
		}
	}
	f("", 5, "")
	f("abc", 3, "abc")
	f("abcd", 3, "abc…")
	f(" a\r\nb\tc\n", 10, "a↵b c")
	f("äöü", 3, "äöü")
	f("äöüß", 3, "äöü…")
	f("\x1b[31m", 20, `\u001b[31m`)
	f("\u202Egnp", 20, `\u202egnp`)
	f("a\xffb", 5, "a\uFFFDb")
	f("a\u00851", 9, `a\u00851`)
	f(strings.Repeat("x", 1<<20), 4, "xxxx…")
}

func TestLogLine(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := logLine(in, 100); got != want {
			t.Errorf("logLine(%q) = %q, want %q", in, got, want)
		}
	}
	f("## Title", "## Title")
	f("a ##[error]b", "a # #[error]b")
	f("##VSO[task.setvariable]", "# #VSO[task.setvariable]")
	f("##teamcity[buildStop]", "# #teamcity[buildStop]")
}

func TestClipKeepsRunesWhole(t *testing.T) {
	got := clip(strings.Repeat("ä", 10), 5)
	if !strings.HasPrefix(got, "ää\n… [cut: 16 more bytes") || !utf8.ValidString(got) {
		t.Errorf("clip = %q", got)
	}
}
