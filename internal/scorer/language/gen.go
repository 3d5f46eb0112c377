//go:build ignore

// Command gen makes profiles.bin.gz from an unpacked langdetect 1.0.9 (the folder that holds
// profiles/ and utils/messages.properties): go run gen.go -from DIR -out profiles.bin.gz
//
// The layout, gzipped; numbers are unsigned varints unless a width is given:
//
//	count of languages, then each code: length, bytes
//	count of Kanji classes, then each: first rune, count, runes that become the first
//	count N of n-grams, count E of entries
//	length of the names, then each n-gram, sorted: runes shared with the one before, length of the rest, the rest
//	N bytes: how many languages have the n-gram
//	E bytes: the language's index minus the index before it in the same n-gram (-1 at first)
//	E bytes, E bytes: high and low byte of -log2(frequency) in steps of 1/64
package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

const levels = 64

type entry struct {
	lang  int
	level int
}

func main() {
	from := flag.String("from", "langdetect", "unpacked langdetect")
	out := flag.String("out", "profiles.bin.gz", "file to write")
	flag.Parse()
	raw, err := build(*from)
	if err != nil {
		log.Fatal(err)
	}
	var z bytes.Buffer
	w, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
	if _, err := w.Write(raw); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(*out, z.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func build(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, "profiles", "*"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no profiles in %s: %v", dir, err)
	}
	sort.Strings(files)
	var codes []string
	grams := map[string][]entry{}
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		var p struct {
			Name   string         `json:"name"`
			Freq   map[string]int `json:"freq"`
			NWords []int          `json:"n_words"`
		}
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
		codes = append(codes, p.Name)
		for g, n := range p.Freq {
			share := float64(n) / float64(p.NWords[utf8.RuneCountInString(g)-1])
			grams[g] = append(grams[g], entry{i, int(math.Round(-math.Log2(share) * levels))})
		}
	}
	if !slices.IsSorted(codes) {
		return nil, fmt.Errorf("codes %v are not sorted", codes)
	}
	kanji, err := classes(filepath.Join(dir, "utils", "messages.properties"))
	if err != nil {
		return nil, err
	}
	return encode(codes, kanji, grams), nil
}

func encode(codes []string, kanji [][]rune, grams map[string][]entry) []byte {
	num := func(b []byte, n int) []byte { return binary.AppendUvarint(b, uint64(n)) }
	var head, names, counts, langs, high, low []byte
	head = num(head, len(codes))
	for _, c := range codes {
		head = append(num(head, len(c)), c...)
	}
	head = num(head, len(kanji))
	for _, class := range kanji {
		head = num(num(head, int(class[0])), len(class))
		for _, r := range class {
			head = num(head, int(r))
		}
	}
	keys := make([]string, 0, len(grams))
	for g := range grams {
		keys = append(keys, g)
	}
	sort.Strings(keys)
	var prev []rune
	for _, g := range keys {
		rs, shared := []rune(g), 0
		for shared < min(len(rs), len(prev)) && rs[shared] == prev[shared] {
			shared++
		}
		rest := string(rs[shared:])
		names = append(num(num(names, shared), len(rest)), rest...)
		prev = rs
		es := grams[g]
		sort.Slice(es, func(i, j int) bool { return es[i].lang < es[j].lang })
		counts = append(counts, byte(len(es)))
		last := -1
		for _, e := range es {
			langs = append(langs, byte(e.lang-last))
			last = e.lang
			high = append(high, byte(e.level>>8))
			low = append(low, byte(e.level))
		}
	}
	head = num(num(head, len(keys)), len(langs))
	head = num(head, len(names))
	return slices.Concat(head, names, counts, langs, high, low)
}

// classes reads the NGram.KANJI_* lines, lists of \uXXXX.
func classes(path string) ([][]rune, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out [][]rune
	for line := range strings.Lines(string(b)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if !ok || !strings.HasPrefix(key, "NGram.KANJI_") {
			continue
		}
		s, err := strconv.Unquote(`"` + value + `"`)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		out = append(out, []rune(s))
	}
	return out, nil
}
