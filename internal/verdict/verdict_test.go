package verdict

import (
	"encoding/json"
	"testing"
)

func TestZeroValueIsUndecided(t *testing.T) {
	var d Decision
	if d.Verdict != Undecided {
		t.Fatalf("zero verdict is %v, want undecided", d.Verdict)
	}
}

func TestCombine(t *testing.T) {
	f := func(want Verdict, in ...Verdict) {
		t.Helper()
		ds := make([]Decision, len(in))
		for i, v := range in {
			ds[i].Verdict = v
		}
		if got := Combine(ds).Verdict; got != want {
			t.Errorf("Combine(%v) = %v, want %v", in, got, want)
		}
	}
	f(Undecided)
	f(Pass, Pass, Pass)
	f(Undecided, Pass, Undecided)
	f(Error, Pass, Error, Undecided)
	f(Fail, Error, Fail, Pass)
}

func TestTextRoundTrip(t *testing.T) {
	for _, v := range []Verdict{Undecided, Pass, Fail, Error} {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		var back Verdict
		if err := json.Unmarshal(b, &back); err != nil || back != v {
			t.Errorf("%s read back as %v, %v", b, back, err)
		}
	}
	var v Verdict
	if err := v.UnmarshalText([]byte("passed")); err == nil {
		t.Error("an unknown word was read as a verdict")
	}
	if _, err := Verdict(9).MarshalText(); err == nil {
		t.Error("verdict 9 was written")
	}
}
