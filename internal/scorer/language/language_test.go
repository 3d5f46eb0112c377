package language

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestDetectAgreesWithLangdetect(t *testing.T) {
	raw, err := os.ReadFile("testdata/langdetect.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Cases []struct{ Text, Code string }
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Cases) < 60 {
		t.Fatalf("%d cases", len(file.Cases))
	}
	for _, c := range file.Cases {
		code, ok := Detect(c.Text)
		if code != c.Code || ok != (c.Code != "") {
			t.Errorf("%q: %q %v, want %q", c.Text, code, ok, c.Code)
		}
	}
}

func TestDetectIsDeterministic(t *testing.T) {
	// Texts that langdetect gives different answers to from one call to the next.
	texts := []string{"Hello", "oceanfront opulence", "John Smith 12 Main Street", strings.Repeat("ok ", 4000) + "да"}
	want := make([]string, len(texts))
	for i, s := range texts {
		want[i], _ = Detect(s)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, s := range slices.Backward(texts) {
				if got, _ := Detect(s); got != want[i] {
					t.Errorf("%.20q: %s, before %s", s, got, want[i])
				}
			}
		})
	}
	wg.Wait()
}

func TestUndetectable(t *testing.T) {
	f := func(s string) {
		t.Helper()
		if code, ok := Detect(s); ok || code != "" {
			t.Errorf("Detect(%q) = %q, %v", s, code, ok)
		}
	}
	f("")
	f(" \n\t")
	f("3.14, 2.72")
	f("https://example.org/page you@example.org")
	f("😀😀😀")
	f("ⴰⴱⴳ ⴷⴹⴻ") // a script that no table has
}

func TestCodes(t *testing.T) {
	codes := Codes()
	if len(codes) != 55 || !slices.IsSorted(codes) {
		t.Fatalf("%d codes, sorted %v", len(codes), slices.IsSorted(codes))
	}
	for _, c := range append(codes, "zh") {
		if !Known(c) {
			t.Errorf("%s is not known", c)
		}
	}
	for _, c := range []string{"", "EN", "xx", "zh-hk", "english"} {
		if Known(c) {
			t.Errorf("%q is known", c)
		}
	}
	codes[0] = "changed"
	if Codes()[0] != "af" {
		t.Error("the caller can change the codes")
	}
	if !Is("zh-tw", "zh") || !Is("en", "en") || Is("en", "de") || Is("zh-tw", "zh-cn") {
		t.Error("Is is wrong")
	}
}

func TestDecodeRefusesDamage(t *testing.T) {
	if _, err := decode(profiles); err != nil {
		t.Fatal(err)
	}
	if _, err := decode(nil); err == nil {
		t.Error("nothing was read as tables")
	}
	if _, err := decode(profiles[:len(profiles)/2]); err == nil {
		t.Error("half a file was read as tables")
	}
}

func FuzzDetect(f *testing.F) {
	for _, s := range []string{"", "hello", "HELLO WORLD", "e\u0301\u0323", "\xc3\x28", "日本語 abc", "a@b.c http://x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		code, ok := Detect(s)
		if ok != (code != "") || ok && !Known(code) {
			t.Fatalf("Detect(%q) = %q, %v", s, code, ok)
		}
		if again, _ := Detect(s); again != code {
			t.Fatalf("Detect(%q) = %q, then %q", s, code, again)
		}
	})
}

func BenchmarkDetect(b *testing.B) {
	s := strings.Repeat("The children play every day in the park near the school. ", 30)
	Detect(s)
	b.ReportAllocs()
	for b.Loop() {
		Detect(s)
	}
}
