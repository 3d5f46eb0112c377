package app

import (
	"path/filepath"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/embed"
)

// The embedders that need no server.
const (
	lexical = "lexical" // built in
	onnx    = "onnx"    // onnx:DIR, a sentence encoder in a directory
)

// openLocalEmbedder opens an embedder that needs no server. dir is the suite's folder, from which
// an encoder's is found.
func openLocalEmbedder(spec config.Provider, dir string) (service, error) {
	kind, path, _ := strings.Cut(spec.ID, ":")
	r := spec.Config.Reader()
	if kind == lexical {
		if path != "" {
			return service{}, &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "the lexical embedder has no variants", Want: lexical}
		}
		return service{any: embed.Lexical{}}, r.Finish()
	}
	if path == "" {
		path = r.String("path", "")
	}
	if err := r.Finish(); err != nil {
		return service{}, err
	}
	if path == "" {
		return service{}, &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "no encoder is named", Want: "onnx:DIR, a folder with model.onnx and tokenizer.json"}
	}
	if path = strings.TrimPrefix(path, "file://"); !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	e, err := embed.Open(path)
	if err != nil {
		return service{}, &config.Error{Pos: spec.Pos, Value: spec.ID, Problem: "the encoder cannot be opened", Err: err, Hint: "docs/semantic.md says what its folder holds"}
	}
	return service{any: e, close: e.Close}, nil
}
