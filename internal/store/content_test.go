package store

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/telltale-llm/telltale/internal/record"
)

func TestPlainMessages(t *testing.T) {
	f := func(plain bool, ms ...record.Message) {
		t.Helper()
		want, err := json.Marshal(ms)
		if err != nil {
			t.Fatal(err)
		}
		switch got := plainMessages(ms); {
		case plain && got != string(want):
			t.Errorf("%s, want %s", got, want)
		case !plain && got != "":
			t.Errorf("%s is not plain", want)
		}
	}
	f(true, record.Message{Role: "user", Content: "Where is my parcel, it's late? 100% {a}"})
	f(true, record.Message{Role: "user", Content: "~ "}, record.Message{Role: "assistant"}, record.Message{})
	f(false)
	for _, s := range []string{"a\"b", "a\\b", "a\nb", "<b>", "a&b", "a>b", "é", "a\x7fb", "\xff", "\u2028"} {
		f(false, record.Message{Role: "user", Content: s})
		f(false, record.Message{Role: s, Content: "a"})
	}
	f(false, record.Message{Role: "user", Parts: []record.Part{{Text: "a"}}})
	f(false, record.Message{Role: "user", Content: "a"}, record.Message{Role: "user", Parts: []record.Part{{ImageURL: "https://a.example/b.png"}}})
}

func TestFlattenAllInParts(t *testing.T) {
	xs := make([]record.Exchange, 5*flattenPart)
	for i := range xs {
		xs[i] = record.Exchange{ID: strconv.Itoa(i), Time: time.Now(), Redaction: "1", Content: &record.Content{Output: "a"}}
	}
	rows, contents, err := FlattenAll(xs)
	if err != nil || len(rows) != len(xs) || len(contents) != len(xs) || rows[2300].ID != "2300" || contents[2300] == nil || contents[2300].ID != "2300" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	xs[4*flattenPart].ID, xs[flattenPart].ID = "", ""
	_, _, err = FlattenAll(xs)
	if bad, ok := errors.AsType[*InvalidError](err); !ok || bad.Index != flattenPart {
		t.Fatalf("%v, want exchange %d", err, flattenPart)
	}
}
