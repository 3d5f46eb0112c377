package embed

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	mlcontext "github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/onnx-gomlx/onnx"

	"github.com/telltale-llm/telltale/internal/record"
)

// Encoder is a sentence encoder in a directory: tokenizer.json, model.onnx (or onnx/model.onnx) and
// the settings files of sentence-transformers. It runs in pure Go on all cores and is safe for
// concurrent use.
type Encoder struct {
	folder *folder
	name   string

	inputs  []string
	output  string
	width   int
	backend backends.Backend
	exec    *mlcontext.Exec
	// slots bounds how many texts are computed at a time, for each takes memory of its own.
	slots chan struct{}

	mu     sync.RWMutex // held for reading while texts are computed
	closed bool
}

const (
	// maxModelFile bounds the ONNX file, which is held in memory.
	maxModelFile = 4 << 30
	// Texts are padded to a multiple of so many tokens: the model is compiled for each length once.
	lengthStep = 8
)

// Open reads the encoder in a directory. The error says what about it is missing or not supported.
func Open(dir string) (e *Encoder, err error) {
	defer func() {
		// The library that reads models answers some of what it does not know with a panic.
		if p := recover(); p != nil {
			if _, own := p.(runtime.Error); own {
				p = "not an ONNX model, or a damaged one"
			}
			e, err = nil, fmt.Errorf("model.onnx: %v", p)
		}
	}()
	f, err := readFolder(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(f.model)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxModelFile {
		return nil, fmt.Errorf("%s: %d bytes are more than %d", f.model, info.Size(), int64(maxModelFile))
	}
	data, err := os.ReadFile(f.model)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	e = &Encoder{folder: f, slots: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if err := e.load(data); err != nil {
		return nil, fmt.Errorf("model.onnx: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	e.name = fmt.Sprintf("onnx:%s@%s;pool:%s;normalize:%t;max:%d", filepath.Base(abs), hex.EncodeToString(sum[:6]), poolingNames[f.pooling], f.normalize, f.maxTokens)
	return e, nil
}

// inputNames are the inputs of encoders that are known, with what each is given for a text of n
// tokens padded to so many.
var inputNames = map[string]func(ids []int, padded int) []int64{
	"input_ids": func(ids []int, padded int) []int64 {
		out := make([]int64, padded)
		for i, id := range ids {
			out[i] = int64(id)
		}
		return out
	},
	"attention_mask": func(ids []int, padded int) []int64 {
		out := make([]int64, padded)
		for i := range ids {
			out[i] = 1
		}
		return out
	},
	"token_type_ids": func(_ []int, padded int) []int64 { return make([]int64, padded) },
	"position_ids": func(_ []int, padded int) []int64 {
		out := make([]int64, padded)
		for i := range out {
			out[i] = int64(i)
		}
		return out
	},
}

// load compiles the model.
func (e *Encoder) load(data []byte) error {
	m, err := onnx.Parse(data)
	if err != nil {
		return err
	}
	e.inputs, _ = m.Inputs()
	for _, name := range e.inputs {
		if inputNames[name] == nil {
			return fmt.Errorf("the model has an input %q; only input_ids, attention_mask, token_type_ids and position_ids are known", name)
		}
	}
	if !slices.Contains(e.inputs, "input_ids") {
		return errors.New("the model has no input input_ids")
	}
	names, shapes := m.Outputs()
	for i, s := range shapes {
		dims := s.Dimensions
		if len(dims) != 3 || e.output != "" && names[i] != "last_hidden_state" {
			continue
		}
		e.output, e.width = names[i], max(0, dims[2])
	}
	if e.output == "" {
		return fmt.Errorf("none of the outputs %s gives a vector for each token", strings.Join(names, ", "))
	}
	// Texts are computed side by side, each one step after the other: the library's own way to run
	// steps side by side has a data race (v0.26.0, Executable.executeNode).
	e.backend, err = simplego.New("ops_sequential")
	if err != nil {
		return err
	}
	weights := mlcontext.New()
	if err := m.VariablesToContext(weights); err != nil {
		return err
	}
	e.exec, err = mlcontext.NewExec(e.backend, weights.Reuse(), func(ctx *mlcontext.Context, in []*graph.Node) []*graph.Node {
		named := map[string]*graph.Node{}
		for i, name := range e.inputs {
			named[name] = in[i]
		}
		return m.CallGraph(ctx, in[0].Graph(), named, e.output)
	})
	if err != nil {
		return err
	}
	e.exec.SetMaxCache(-1) // at most one for each padded length
	return nil
}

// Name identifies the encoder in signatures by the content of its model, with what is made of the
// tokens' vectors.
func (e *Encoder) Name() string { return e.name }

// Tokens returns the tokens of a text; the marks around it are empty.
func (e *Encoder) Tokens(text string) []string { return e.code(text).texts }

func (e *Encoder) code(text string) coded {
	if e.folder.lower {
		text = strings.ToLower(text)
	}
	return e.folder.tokenizer.encode(strings.TrimSpace(text), e.folder.maxTokens)
}

// Embed returns a vector for each text, of length 1 where the encoder says so.
func (e *Encoder) Embed(ctx context.Context, texts []string) ([][]float32, record.Usage, error) {
	out := make([][]float32, len(texts))
	err := e.each(ctx, texts, func(i int, c coded, vectors [][]float32) error {
		out[i] = pool(vectors, e.folder.pooling)
		if e.folder.normalize {
			unit(out[i])
		}
		return nil
	})
	return out, record.Usage{}, err
}

// pool makes one vector of those of the tokens.
func pool(vectors [][]float32, by pooling) []float32 {
	if by == poolFirst {
		return vectors[0]
	}
	sum := make([]float64, len(vectors[0]))
	for _, v := range vectors {
		for k, x := range v {
			sum[k] += float64(x)
		}
	}
	out := make([]float32, len(sum))
	for k, x := range sum {
		out[k] = float32(x / float64(len(vectors)))
	}
	return out
}

// EmbedTokens returns the tokens of each text and their vectors in the model's last layer.
func (e *Encoder) EmbedTokens(ctx context.Context, texts []string) ([][]string, [][][]float32, error) {
	tokens, out := make([][]string, len(texts)), make([][][]float32, len(texts))
	err := e.each(ctx, texts, func(i int, c coded, vectors [][]float32) error {
		tokens[i], out[i] = c.texts, vectors
		return nil
	})
	return tokens, out, err
}

// each computes every text and hands over its tokens with their vectors.
func (e *Encoder) each(ctx context.Context, texts []string, use func(int, coded, [][]float32) error) error {
	errs := make([]error, len(texts))
	var wg sync.WaitGroup
	for i, text := range texts {
		select {
		case e.slots <- struct{}{}:
		case <-ctx.Done():
			errs[i] = ctx.Err()
			continue
		}
		wg.Go(func() {
			defer func() { <-e.slots }()
			c := e.code(text)
			vectors, err := e.compute(c)
			if err == nil {
				err = use(i, c, vectors)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// compute runs the model on one text.
func (e *Encoder) compute(c coded) (vectors [][]float32, err error) {
	defer func() {
		if p := recover(); p != nil {
			vectors, err = nil, fmt.Errorf("the model failed: %v", p)
		}
	}()
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, errors.New("the encoder is closed")
	}
	if len(c.ids) == 0 {
		return nil, errors.New("the text has no tokens")
	}
	padded := (len(c.ids) + lengthStep - 1) / lengthStep * lengthStep
	padded = max(len(c.ids), min(padded, e.folder.maxTokens))
	in := make([]any, len(e.inputs))
	for i, name := range e.inputs {
		in[i] = tensors.FromFlatDataAndDimensions(inputNames[name](c.ids, padded), 1, padded)
	}
	out, err := e.exec.Exec(in...)
	defer func() {
		for _, t := range out {
			err = errors.Join(err, t.FinalizeAll())
		}
		for _, t := range in {
			err = errors.Join(err, t.(*tensors.Tensor).FinalizeAll())
		}
	}()
	if err != nil {
		return nil, err
	}
	err = tensors.ConstFlatData(out[0], func(flat []float32) {
		width := len(flat) / padded
		vectors = make([][]float32, len(c.ids))
		for i := range vectors {
			vectors[i] = append([]float32(nil), flat[i*width:(i+1)*width]...)
		}
	})
	return vectors, err
}

// Close gives the model's memory back.
func (e *Encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.closed = true
		e.exec.Finalize()
		e.backend.Finalize()
	}
	return nil
}
