package app

import (
	"errors"
	"fmt"
	"iter"
	"strconv"
	"testing"
)

func numbered(n int, end error) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		buf := make([]byte, 0, 16)
		for i := range n {
			buf = strconv.AppendInt(buf[:0], int64(i), 10) // the same bytes are used again
			if !yield(buf, nil) {
				return
			}
		}
		if end != nil {
			yield(nil, end)
		}
	}
}

func TestInOrder(t *testing.T) {
	bad := errors.New("bad line")
	f := func(n int, end error, badAt, stopAt, want int, wantErr error) {
		t.Helper()
		got := 0
		var last error
		for v, err := range inOrder(numbered(n, end), func(i int, line []byte) (string, error) {
			if i == badAt {
				return "", bad
			}
			return fmt.Sprint(i, " ", string(line)), nil
		}) {
			if err != nil {
				last = err
				continue
			}
			if w := fmt.Sprint(got, " ", got); v != w {
				t.Fatalf("%q in the place of %q", v, w)
			}
			if got++; got == stopAt {
				break
			}
		}
		if got != want || !errors.Is(last, wantErr) {
			t.Errorf("%d lines: %d, %v; want %d, %v", n, got, last, want, wantErr)
		}
	}
	broken := errors.New("broken file")
	f(0, nil, -1, -1, 0, nil)
	f(1, nil, -1, -1, 1, nil)
	f(batchLines, nil, -1, -1, batchLines, nil)
	f(1000, nil, -1, -1, 1000, nil)
	f(1000, broken, -1, -1, 1000, broken)
	f(0, broken, -1, -1, 0, broken)
	f(1000, broken, 300, -1, 300, bad)
	f(10000, nil, -1, 7, 7, nil)
	f(10000, broken, 9000, 777, 777, nil)
}
