package embed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pooling makes one vector of a text out of those of its tokens.
type pooling uint8

const (
	poolMean  pooling = iota
	poolFirst         // the vector of the mark before the text
)

var poolingNames = [...]string{poolMean: "mean", poolFirst: "cls"}

// folder is what a directory says about the encoder in it, in the files of sentence-transformers.
type folder struct {
	model     string // path of the ONNX file
	tokenizer *wordPiece
	pooling   pooling
	normalize bool
	lower     bool
	maxTokens int
}

// maxSmallFile bounds a file of settings, and maxTokenizerFile tokenizer.json with its vocabulary.
const (
	maxSmallFile     = 1 << 20
	maxTokenizerFile = 64 << 20
)

// readFolder reads the settings of an encoder. What a directory does not say is as
// sentence-transformers takes it: the mean of the tokens, not normalized.
func readFolder(dir string) (*folder, error) {
	f := &folder{}
	for _, name := range []string{"model.onnx", filepath.Join("onnx", "model.onnx")} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			f.model = filepath.Join(dir, name)
			break
		}
	}
	if f.model == "" {
		if _, err := os.Stat(dir); err != nil {
			return nil, err
		}
		return nil, errors.New("there is no model.onnx and no onnx/model.onnx in the directory")
	}
	data, err := readBounded(filepath.Join(dir, "tokenizer.json"), maxTokenizerFile)
	if err != nil {
		return nil, err
	}
	if f.tokenizer, err = parseTokenizer(data); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	pools, err := f.readModules(dir)
	if err != nil {
		return nil, err
	}
	if err := f.readPooling(dir, pools); err != nil {
		return nil, err
	}
	return f, f.readLimits(dir)
}

// readModules reads the steps of the encoder; pools is the folder of the one that pools.
func (f *folder) readModules(dir string) (pools string, err error) {
	var modules []struct{ Path, Type string }
	if _, err := readJSON(dir, "modules.json", &modules); err != nil {
		return "", err
	}
	for _, m := range modules {
		switch kind := m.Type[strings.LastIndexByte(m.Type, '.')+1:]; kind {
		case "Transformer":
			if m.Path != "" {
				return "", fmt.Errorf("modules.json: the transformer is in the folder %q; only the directory itself is supported", m.Path)
			}
		case "Pooling":
			if !filepath.IsLocal(m.Path) {
				return "", fmt.Errorf("modules.json: %q is no folder of the directory", m.Path)
			}
			pools = m.Path
		case "Normalize":
			f.normalize = true
		default:
			return "", fmt.Errorf("modules.json: the module %s is not supported; want Transformer, Pooling and Normalize", kind)
		}
	}
	return pools, nil
}

func (f *folder) readPooling(dir, pools string) error {
	if pools == "" {
		return nil
	}
	var modes map[string]any
	name := filepath.Join(pools, "config.json")
	if _, err := readJSON(dir, name, &modes); err != nil {
		return err
	}
	var on []string
	for key, v := range modes {
		if mode, ok := strings.CutPrefix(key, "pooling_mode_"); ok && v == true {
			on = append(on, mode)
		}
	}
	switch {
	case len(on) == 1 && on[0] == "mean_tokens":
	case len(on) == 1 && on[0] == "cls_token":
		f.pooling = poolFirst
	default:
		return fmt.Errorf("%s: the pooling is %v; only mean_tokens or cls_token is supported", filepath.ToSlash(name), on)
	}
	return nil
}

// readLimits reads how many tokens a text may have, and what is done to texts beforehand.
func (f *folder) readLimits(dir string) error {
	var own struct {
		MaxSeqLength *float64 `json:"max_seq_length"`
		Lower        bool     `json:"do_lower_case"`
	}
	var tokens struct {
		Max *float64 `json:"model_max_length"`
	}
	var model struct {
		Max   *float64 `json:"max_position_embeddings"`
		Vocab *float64 `json:"vocab_size"`
	}
	var prompts struct {
		Default *string `json:"default_prompt_name"`
	}
	for name, into := range map[string]any{
		"sentence_bert_config.json": &own, "tokenizer_config.json": &tokens, "config.json": &model, "config_sentence_transformers.json": &prompts,
	} {
		if _, err := readJSON(dir, name, into); err != nil {
			return err
		}
	}
	f.lower = own.Lower
	if prompts.Default != nil {
		return fmt.Errorf("config_sentence_transformers.json: the default prompt %q is not supported", *prompts.Default)
	}
	f.maxTokens = defaultMaxTokens
	for _, most := range []*float64{own.MaxSeqLength, tokens.Max} {
		if most != nil {
			f.maxTokens = int(min(*most, hardMaxTokens))
			break
		}
	}
	if model.Vocab != nil {
		// A model takes a token that it does not know for another one, without a word.
		if token, id := f.tokenizer.last(); float64(id) >= *model.Vocab {
			return fmt.Errorf("tokenizer.json: the token %q has the id %d, and by config.json the model knows %v tokens", token, id, *model.Vocab)
		}
	}
	if model.Max != nil {
		f.maxTokens = min(f.maxTokens, int(*model.Max))
	}
	if least := len(f.tokenizer.before) + len(f.tokenizer.after) + 1; f.maxTokens < least {
		return fmt.Errorf("a text may have %d tokens, which leaves no room for any", f.maxTokens)
	}
	return nil
}

const (
	defaultMaxTokens = 512
	// hardMaxTokens bounds the memory that one text may take; attention grows with its square.
	hardMaxTokens = 2048
)

// readJSON reads a file of settings, which need not be there.
func readJSON(dir, name string, into any) (bool, error) {
	data, err := readBounded(filepath.Join(dir, name), maxSmallFile)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := decode(data, into); err != nil {
		return false, fmt.Errorf("%s: %w", filepath.ToSlash(name), err)
	}
	return true, nil
}

// decode reads JSON; its error speaks of the file and not of Go's types.
func decode(data []byte, into any) error {
	err := json.Unmarshal(data, into)
	if te, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if te.Field == "" {
			return fmt.Errorf("%s is not what such a file holds", te.Value)
		}
		return fmt.Errorf("%s: %s does not belong there", strings.TrimPrefix(te.Field, "."), te.Value)
	}
	return err
}

func readBounded(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > most {
		return nil, fmt.Errorf("%s: %d bytes are more than %d", path, info.Size(), most)
	}
	return os.ReadFile(path)
}
