package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"hash/fnv"
	"html"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// part is what a text is used for.
type part uint8

// A seventh of the texts calibrates, a fifth tests; the rest are trained on.
const (
	trainPart part = iota
	validatePart
	testPart
)

// example is one labelled text.
type example struct {
	text  string
	toxic bool
	part  part
}

func (e example) label() float64 {
	if e.toxic {
		return 1
	}
	return 0
}

// partOf depends on nothing but the text, so that equal texts never lie on both sides of a split,
// and more data never moves a text from one part to another.
func partOf(text string) part {
	h := fnv.New64a()
	_, _ = io.WriteString(h, strings.Join(strings.Fields(strings.ToLower(text)), " ")) // never fails
	switch n := h.Sum64() >> 11 % 100; {
	case n < 20:
		return testPart
	case n < 34:
		return validatePart
	}
	return trainPart
}

// What a tweet has around its words: who said it and to whom, and links.
var tweetMarks = regexp.MustCompile(`\bRT\b:?|@\w+:?|https?:\S*`)

// cleanTweet leaves a tweet's words: whether a text is a retweet says much about this corpus and
// nothing about toxicity.
func cleanTweet(s string) string {
	s = html.UnescapeString(html.UnescapeString(s)) // some are escaped twice
	return strings.Join(strings.Fields(tweetMarks.ReplaceAllString(s, " ")), " ")
}

// readDavidson reads labeled_data.csv of Davidson et al. (2017): class 0 is hate speech, 1 offensive
// language, 2 neither.
func readDavidson(dir string) ([]example, error) {
	var out []example
	err := eachRow(filepath.Join(dir, "davidson_labeled_data.csv"), ',', []string{"class", "tweet"}, func(row []string) error {
		text := cleanTweet(row[1])
		switch row[0] {
		case "0", "1", "2":
			out = append(out, example{text: text, toxic: row[0] != "2", part: partOf(text)})
			return nil
		}
		return fmt.Errorf("class %q, want 0, 1 or 2", row[0])
	})
	return out, err
}

// readParadetox reads paradetox.tsv of Logacheva et al. (2022): a toxic sentence and up to three
// neutral ones that say the same. A pair goes to one part as a whole.
func readParadetox(dir string) ([]example, error) {
	var out []example
	err := eachRow(filepath.Join(dir, "paradetox.tsv"), '\t', []string{"toxic", "neutral1", "neutral2", "neutral3"}, func(row []string) error {
		p := partOf(row[0])
		out = append(out, example{text: row[0], toxic: true, part: p})
		for _, neutral := range row[1:] {
			if strings.TrimSpace(neutral) != "" {
				out = append(out, example{text: neutral, part: p})
			}
		}
		return nil
	})
	return out, err
}

// check is one case of HateCheck (Röttger et al., 2021). It is only ever reported on.
type check struct {
	functionality string
	text          string
	hateful       bool
}

func readHateCheck(dir string) ([]check, error) {
	var out []check
	err := eachRow(filepath.Join(dir, "hatecheck_test_suite_cases.csv"), ',', []string{"functionality", "test_case", "label_gold"}, func(row []string) error {
		if row[2] != "hateful" && row[2] != "non-hateful" {
			return fmt.Errorf("label_gold %q, want hateful or non-hateful", row[2])
		}
		out = append(out, check{functionality: row[0], text: row[1], hateful: row[2] == "hateful"})
		return nil
	})
	return out, err
}

// eachRow calls f with the named columns of each row of a file with a header.
func eachRow(file string, comma rune, columns []string, f func([]string) error) error {
	r, err := os.Open(file)
	if err != nil {
		return err
	}
	defer r.Close()
	c := csv.NewReader(r)
	c.Comma, c.LazyQuotes, c.FieldsPerRecord = comma, comma == '\t', -1
	header, err := c.Read()
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	at := make([]int, len(columns))
	for i, want := range columns {
		at[i] = -1
		for j, name := range header {
			if strings.TrimSpace(name) == want {
				at[i] = j
			}
		}
		if at[i] < 0 {
			return fmt.Errorf("%s: no column %q among %q", file, want, header)
		}
	}
	picked := make([]string, len(columns))
	rows := 0
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for i, j := range at {
			picked[i] = ""
			if j < len(row) {
				picked[i] = row[j]
			}
		}
		if err := f(picked); err != nil {
			line, _ := c.FieldPos(0)
			return fmt.Errorf("%s:%d: %w", file, line, err)
		}
		rows++
	}
	if rows == 0 {
		return fmt.Errorf("%s: no rows", file)
	}
	return nil
}
