package embed

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

// tiny is what other programs make of texts with the encoder in testdata/tiny, a BERT of two layers
// with random weights: tokens by Hugging Face's tokenizers, vectors by numpy in double precision. The
// script bench/real/make_tiny.py makes both.
type tiny struct {
	Rows []struct {
		Text, Normalized string
		IDs              []int
		Tokens           []string
		Vector           []float64
	}
}

func readTiny(t testing.TB) tiny {
	t.Helper()
	data, err := os.ReadFile("testdata/tiny.json")
	if err != nil {
		t.Fatal(err)
	}
	var out tiny
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func openTiny(t testing.TB) *Encoder {
	t.Helper()
	e, err := Open("testdata/tiny")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestTokensAreThoseOfHuggingFace(t *testing.T) {
	e := openTiny(t)
	for _, row := range readTiny(t).Rows {
		if got := e.folder.tokenizer.normalize(row.Text); got != row.Normalized {
			t.Errorf("%q is normalized to %q, want %q", row.Text, got, row.Normalized)
		}
		got := e.folder.tokenizer.encode(row.Text, 20)
		if !reflect.DeepEqual(got.ids, row.IDs) {
			t.Errorf("%q has the ids %v, want %v", row.Text, got.ids, row.IDs)
		}
		for i, token := range row.Tokens {
			if i == 0 || i == len(row.Tokens)-1 {
				token = "" // [CLS] and [SEP] stand for no text
			}
			if got.texts[i] != token {
				t.Errorf("token %d of %q is %q, want %q", i, row.Text, got.texts[i], token)
			}
		}
	}
}

func TestVectorsAreThoseOfTheReference(t *testing.T) {
	e := openTiny(t)
	var texts []string
	var want [][]float64
	for _, row := range readTiny(t).Rows {
		if row.Vector != nil {
			texts, want = append(texts, row.Text), append(want, row.Vector)
		}
	}
	got, _, err := e.Embed(t.Context(), texts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		for k := range want[i] {
			if d := math.Abs(float64(got[i][k]) - want[i][k]); !(d < 1e-5) {
				t.Fatalf("number %d of %q is %v, want %v", k, texts[i], got[i][k], want[i][k])
			}
		}
	}
	// A text has the same vector whatever it is asked with.
	alone, _, err := e.Embed(t.Context(), texts[3:4])
	if err != nil || !reflect.DeepEqual(alone[0], got[3]) {
		t.Errorf("%v; alone %v, with others %v", err, alone, got[3])
	}
}

func TestTokenVectors(t *testing.T) {
	e := openTiny(t)
	tokens, vectors, err := e.EmbedTokens(t.Context(), []string{"the cat runs", ""})
	if err != nil {
		t.Fatal(err)
	}
	if want := [][]string{{"", "the", "cat", "run", "##s", ""}, {"", ""}}; !reflect.DeepEqual(tokens, want) {
		t.Errorf("tokens %q", tokens)
	}
	for i := range tokens {
		if len(vectors[i]) != len(tokens[i]) || len(vectors[i][0]) != 16 {
			t.Errorf("%d vectors for %d tokens", len(vectors[i]), len(tokens[i]))
		}
	}
	if got := e.Tokens("the cat"); !reflect.DeepEqual(got, []string{"", "the", "cat", ""}) {
		t.Errorf("tokens %q", got)
	}
}

func TestEncoderIsSafeForConcurrentUse(t *testing.T) {
	e := openTiny(t)
	want, _, err := e.Embed(t.Context(), []string{"the cat sat", "a dog"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				got, _, err := e.Embed(t.Context(), []string{"the cat sat", "a dog"})
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%v, %v", got, err)
				}
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for len(e.slots) < cap(e.slots) {
		e.slots <- struct{}{}
	}
	if _, _, err := e.Embed(ctx, []string{"x"}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the end of the context", err)
	}
	for len(e.slots) > 0 {
		<-e.slots
	}
}

func TestClosedEncoder(t *testing.T) {
	e := openTiny(t)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Embed(t.Context(), []string{"x"}); err == nil {
		t.Error("a closed encoder gives vectors")
	}
}

func TestEncoderName(t *testing.T) {
	name := openTiny(t).Name()
	if !strings.HasPrefix(name, "onnx:tiny@") || !strings.HasSuffix(name, ";pool:mean;normalize:true;max:20") {
		t.Errorf("name %s", name)
	}
}

// copyTiny copies the encoder with some files replaced; a nil content leaves a file out.
func copyTiny(t *testing.T, replaced map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/tiny")); err != nil {
		t.Fatal(err)
	}
	for name, content := range replaced {
		path := filepath.Join(dir, name)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if content == nil {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFolders(t *testing.T) {
	model, err := os.ReadFile("testdata/tiny/model.onnx")
	if err != nil {
		t.Fatal(err)
	}
	f := func(replaced map[string][]byte, want pooling, normalize bool, most int) {
		t.Helper()
		e, err := Open(copyTiny(t, replaced))
		if err != nil {
			t.Error(err)
			return
		}
		defer e.Close()
		if e.folder.pooling != want || e.folder.normalize != normalize || e.folder.maxTokens != most {
			t.Errorf("pooling %v, normalize %v, most %d; want %v, %v, %d", e.folder.pooling, e.folder.normalize, e.folder.maxTokens, want, normalize, most)
		}
		if _, _, err := e.Embed(t.Context(), []string{"the cat"}); err != nil {
			t.Error(err)
		}
	}
	f(nil, poolMean, true, 20)
	f(map[string][]byte{"model.onnx": nil, "onnx/model.onnx": model}, poolMean, true, 20)
	f(map[string][]byte{"modules.json": nil, "sentence_bert_config.json": nil}, poolMean, false, 24)
	f(map[string][]byte{"1_Pooling/config.json": []byte(`{"pooling_mode_cls_token":true}`), "sentence_bert_config.json": []byte(`{"max_seq_length":null}`),
		"tokenizer_config.json": []byte(`{"model_max_length":1e30}`), "config.json": []byte(`{"max_position_embeddings":10}`)}, poolFirst, true, 10)
}

func TestOpenRefuses(t *testing.T) {
	tokenizer, err := os.ReadFile("testdata/tiny/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, content, want string) {
		t.Helper()
		var data []byte
		if content != "" {
			data = []byte(content)
		}
		_, err := Open(copyTiny(t, map[string][]byte{name: data}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	f("model.onnx", "", "no model.onnx")
	f("model.onnx", "not a model", "model.onnx")
	f("tokenizer.json", "", "tokenizer.json")
	f("tokenizer.json", "{", "tokenizer.json")
	f("tokenizer.json", strings.Replace(string(tokenizer), `"WordPiece"`, `"BPE"`, 1), "BPE")
	f("tokenizer.json", strings.Replace(string(tokenizer), `"BertNormalizer"`, `"Sequence"`, 1), "BertNormalizer")
	f("tokenizer.json", strings.Replace(string(tokenizer), `"TemplateProcessing"`, `"RobertaProcessing"`, 1), "RobertaProcessing")
	f("tokenizer.json", strings.Replace(string(tokenizer), `"unk_token":"[UNK]"`, `"unk_token":"[NO]"`, 1), "[NO]")
	f("modules.json", `[{"type":"sentence_transformers.models.Dense","path":"2_Dense"}]`, "Dense")
	f("modules.json", `[{"type":"sentence_transformers.models.Pooling","path":"../other"}]`, "../other")
	f("modules.json", `{`, "modules.json")
	f("modules.json", `5`, "modules.json: number is not what such a file holds")
	f("config.json", `{"max_position_embeddings":"x"}`, "config.json: max_position_embeddings: string does not belong there")
	f("config.json", `{"vocab_size":10}`, "and by config.json the model knows 10 tokens")
	f("tokenizer.json", `[]`, "tokenizer.json: array is not what such a file holds")
	f("model.onnx", "\x08\x07", "model.onnx: not an ONNX model, or a damaged one")
	f("1_Pooling/config.json", `{"pooling_mode_max_tokens":true}`, "max_tokens")
	f("1_Pooling/config.json", `{"pooling_mode_mean_tokens":true,"pooling_mode_cls_token":true}`, "only")
	f("sentence_bert_config.json", `{"max_seq_length":2}`, "no room")
	f("config_sentence_transformers.json", `{"default_prompt_name":"query"}`, "query")
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a directory that is not there: %v", err)
	}
}

func FuzzTokenizer(f *testing.F) {
	data, err := os.ReadFile("testdata/tiny/tokenizer.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "the cat [MASK] sat \xff\u00e9")
	f.Add([]byte(`{"normalizer":{"type":"BertNormalizer"},"pre_tokenizer":{"type":"BertPreTokenizer"},"model":{"unk_token":"u","vocab":{"u":0}},"post_processor":{"type":"BertProcessing","sep":["s",1],"cls":["c",2]}}`), "x")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		tok, err := parseTokenizer(data)
		if err != nil {
			return
		}
		all := tok.encode(text, 0)
		if len(all.ids) != len(all.texts) {
			t.Fatalf("%d ids, %d texts", len(all.ids), len(all.texts))
		}
		most := len(tok.before) + len(tok.after) + 3
		cut := tok.encode(text, most)
		if want := min(len(all.ids), most); len(cut.ids) != want {
			t.Fatalf("%d tokens of at most %d, want %d", len(cut.ids), most, want)
		}
		if n := len(cut.ids) - len(tok.after); !reflect.DeepEqual(cut.ids[:n], all.ids[:n]) {
			t.Fatalf("cut to %v out of %v", cut.ids, all.ids)
		}
	})
}
