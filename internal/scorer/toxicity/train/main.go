// Command train makes the weights of the built-in toxicity model and prints how good they are.
//
// It reads the corpora of Davidson et al. (2017) and ParaDetox (Logacheva et al., 2022) from a
// folder, splits them by the hash of the text, trains on one part, calibrates on another, and
// reports on the third and on HateCheck (Röttger et al., 2021), which it never trains on. The same
// data give the same weights, byte for byte, on the same architecture.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/telltale-llm/telltale/internal/scorer/toxicity"
)

func main() {
	data := flag.String("data", "", "folder with davidson_labeled_data.csv, paradetox.tsv and hatecheck_test_suite_cases.csv")
	out := flag.String("out", "", "file to write the weights to; without it they are only reported on")
	flag.Parse()
	if err := run(*data, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

func run(data, out string, w io.Writer) error {
	davidson, err := readDavidson(data)
	if err != nil {
		return err
	}
	paradetox, err := readParadetox(data)
	if err != nil {
		return err
	}
	checks, err := readHateCheck(data)
	if err != nil {
		return err
	}
	p, err := fit(chosen, davidson, paradetox)
	if err != nil {
		return err
	}
	b := toxicity.Encode(p)
	m, err := toxicity.Decode(b)
	if err != nil {
		return err
	}
	if out != "" {
		if err := os.WriteFile(out, b, 0o644); err != nil {
			return err
		}
	}
	return report(w, m, davidson, paradetox, checks)
}
