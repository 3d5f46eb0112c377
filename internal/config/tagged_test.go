package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseObject(t *testing.T) {
	o, err := ParseObject("t.yaml", []byte("a: !function utils.f\nb: [1, {c: !x y}]\nd: &k {e: 2.5}\nf: *k\ng: !!str 5\nh: \"${X} $5\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(key, want string) {
		t.Helper()
		if got := fmt.Sprintf("%v", o.Map[key]); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
	f("a", "{!function utils.f t.yaml:1:4: a}")
	f("b", "[1 map[c:{!x y t.yaml:2:12: b[1].c}]]")
	f("f", "map[e:2.5]")
	f("g", "5")
	f("h", "${X} $5")
	if o.At("d").Line != 3 {
		t.Errorf("%v", o.At("d"))
	}
	bad := func(text, want string) {
		t.Helper()
		if _, err := ParseObject("t.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	bad("a: 1\na: 2", "duplicate key")
	bad("[1]", "t.yaml:1:1: \"[…1 item]\": not a mapping")
	bad("a: [", "invalid YAML")
	bad("", "the file is empty")
}

func TestParseObjectLast(t *testing.T) {
	o, repeated, err := ParseObjectLast("t.yaml", []byte("a: 1\nb:\n- c: x\n  d: 1\n  c: y\na: 2\n"))
	if err != nil || fmt.Sprint(o.Map) != "map[a:2 b:[map[c:y d:1]]]" {
		t.Errorf("%v %v", o.Map, err)
	}
	for _, want := range []string{`t.yaml:6:1: a: the key "a" is given again after line 1`, `t.yaml:5:3: b[0].c: the key "c" is given again after line 3`} {
		if !strings.Contains(repeated.Error(), want) {
			t.Errorf("%v lacks %s", repeated, want)
		}
	}
	if o.At("a").Line != 6 {
		t.Errorf("%v", o.At("a"))
	}
}
