package bus

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
)

// random makes records that do not compress.
func random(from, n, size int) []Item {
	r := rand.New(rand.NewPCG(uint64(from), 1))
	out := make([]Item, n)
	for i := range out {
		id := fmt.Sprintf("r-%d-%d", from, i)
		data := []byte(id)
		for range size {
			data = append(data, byte(r.Uint32()))
		}
		out[i] = Item{id, data}
	}
	return out
}

func pack(items []Item) []byte {
	var raw []byte
	for _, i := range items {
		raw = appendRecord(raw, i.ID, i.Data)
	}
	return encodeFrame(nil, raw, len(items))
}

func TestFrame(t *testing.T) {
	f := func(in []Item, compressed bool) {
		t.Helper()
		frame := pack(in)
		if (frame[3] == codecS2) != compressed {
			t.Errorf("codec %d", frame[3])
		}
		var out []Item
		if err := decodeFrame(frame, func(i int, id string, data []byte) {
			if i != len(out) {
				t.Errorf("index %d, want %d", i, len(out))
			}
			out = append(out, Item{id, data})
		}); err != nil {
			t.Fatal(err)
		}
		if len(out) != len(in) {
			t.Fatalf("%d records, want %d", len(out), len(in))
		}
		for i := range in {
			if in[i].ID != out[i].ID || !bytes.Equal(in[i].Data, out[i].Data) {
				t.Errorf("record %d differs", i)
			}
		}
		// Every single damaged byte is noticed.
		for i := 0; i < len(frame); i += max(1, len(frame)/200) {
			bad := bytes.Clone(frame)
			bad[i] ^= 0x10
			if err := decodeFrame(bad, func(int, string, []byte) {}); err == nil {
				t.Errorf("byte %d of %d damaged, and not noticed", i, len(frame))
			}
		}
		for _, n := range []int{0, 3, headerSize, len(frame) - 1} {
			if err := decodeFrame(frame[:n], func(int, string, []byte) {}); err == nil && n < len(frame) {
				t.Errorf("cut at %d, and not noticed", n)
			}
		}
	}
	f(items(0, 1, 0), false)
	f(items(0, 300, 1000), true)
	f(random(0, 50, 1000), false)
	f([]Item{{"", nil}}, false)
}

func TestRecordSize(t *testing.T) {
	for _, n := range []int{0, 1, 127, 128, 16383, 16384, 70000} {
		data := make([]byte, n)
		if got, want := recordSize("id", data), len(appendRecord(nil, "id", data)); got != want {
			t.Errorf("%d: %d, want %d", n, got, want)
		}
	}
}

func FuzzFrame(f *testing.F) {
	f.Add(pack(items(0, 3, 10)))
	f.Add(pack(random(0, 2, 100)))
	f.Add([]byte("TF\x01\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		total := 0
		take := func(_ int, id string, data []byte) { total += len(id) + len(data) }
		_ = decodeFrame(b, take)
		// The checksum hides the rest from the fuzzer: give it a right one.
		if len(b) >= headerSize {
			c := bytes.Clone(b)
			sum := frameSum(c)
			c[12], c[13], c[14], c[15] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
			_ = decodeFrame(c, take)
		}
		_ = eachRecord(b, 3, take)
		if _, ok := readSequences(b); !ok && len(b) == 0 {
			t.Error("no numbers in nothing")
		}
	})
}

func TestSequences(t *testing.T) {
	f := func(in ...uint64) {
		t.Helper()
		out, ok := readSequences(appendSequences(nil, in))
		if !ok || fmt.Sprint(out) != fmt.Sprint(in) {
			t.Errorf("%v, want %v", out, in)
		}
	}
	f(1)
	f(1, 2, 3, 1<<40, 7)
	f(1<<63, 1)
}

// TestRawSize: the size of what is in a frame is known without decoding it, however it is compressed, and bounded whatever a
// damaged header says.
func TestRawSize(t *testing.T) {
	f := func(frame []byte, want int) {
		t.Helper()
		if got := rawSize(frame); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
	raw := appendRecord(nil, "id", bytes.Repeat([]byte("the same "), 10_000))
	frame := encodeFrame(nil, raw, 1)
	if len(frame) > len(raw)/4 {
		t.Fatalf("%d bytes are %d compressed", len(raw), len(frame))
	}
	f(frame, len(raw))
	f(frame[:headerSize-1], headerSize-1)
	f(nil, 0)
	f(append(bytes.Repeat([]byte{0xff}, headerSize), 1), maxFrameRaw)
}
