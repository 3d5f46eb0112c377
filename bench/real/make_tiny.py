"""Makes internal/embed/testdata: a BERT of two layers with random weights, and what Hugging Face's
tokenizers and numpy make of some texts with it.

Usage: make_tiny.py, in an environment with requirements-encoder.txt
"""

import json
import pathlib
import tempfile

import numpy as np
import tokenizers
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import encoder

out = pathlib.Path(__file__).parent / "../../internal/embed/testdata/tiny"
tmp = pathlib.Path(tempfile.mkdtemp())
words = "the cat sat on mat dog a run ##s ##ning ##ning un ##want ##ed want cafe naive de ##ja vu , . ! ? ' - don t 日 本 語 text ab ##c ##d é ё ß ss ##é ( ) + = < > $ 1 2 ##3 ##0 _ i ı ##\u0307 ο ##σ σ ς".split()
vocab = {}
for t in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + words:
    vocab.setdefault(t, len(vocab))
tok = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]", max_input_chars_per_word=20))
tok.normalizer = normalizers.BertNormalizer(lowercase=True)
tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tok.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
tok.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
tok.save(str(out / "tokenizer.json"), pretty=False)
rng = np.random.default_rng(7)
H, L, I, P = 16, 2, 32, 24
cfg = dict(
    hidden_size=H,
    num_hidden_layers=L,
    num_attention_heads=4,
    intermediate_size=I,
    layer_norm_eps=1e-12,
    max_position_embeddings=P,
    model_type="bert",
    vocab_size=len(vocab),
)
w = {}


def rnd(name, *s, scale=0.5):
    w[name] = (rng.standard_normal(s) * scale).astype(np.float32)


rnd("embeddings.word_embeddings.weight", len(vocab), H, scale=1)
rnd("embeddings.position_embeddings.weight", P, H)
rnd("embeddings.token_type_embeddings.weight", 2, H)


def ln(n):
    w[n + ".weight"] = (1 + 0.1 * rng.standard_normal(H)).astype(np.float32)
    w[n + ".bias"] = (0.1 * rng.standard_normal(H)).astype(np.float32)


ln("embeddings.LayerNorm")
for i in range(L):
    p = f"encoder.layer.{i}."
    for n in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
        rnd(p + n + ".weight", H, H)
        rnd(p + n + ".bias", H, scale=0.1)
    rnd(p + "intermediate.dense.weight", I, H)
    rnd(p + "intermediate.dense.bias", I, scale=0.1)
    rnd(p + "output.dense.weight", H, I)
    rnd(p + "output.dense.bias", H, scale=0.1)
    ln(p + "attention.output.LayerNorm")
    ln(p + "output.LayerNorm")
save_file(w, str(tmp / "model.safetensors"))
for d in (tmp, out):
    (d / "config.json").write_text(json.dumps(cfg) + "\n")
    (d / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": false}\n')
(tmp / "tokenizer.json").write_bytes((out / "tokenizer.json").read_bytes())
(out / "modules.json").write_text(
    json.dumps(
        [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]
    )
    + "\n"
)
(out / "1_Pooling" / "config.json").write_text(
    json.dumps({"word_embedding_dimension": H, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}) + "\n"
)
encoder.export(tmp, out / "model.onnx")
texts = [
    "the cat sat on the mat.",
    "A DOG runs",
    "",
    "running unwanted",
    "zzz the",
    "Café naïve déjà vu!",
    "日本語text",
    "don't - (1+2)=$123 <a> a_b",
    "  the\tcat\u00a0sat\nmat\u2003 ",
    "the\u200bcat \u0000a\ufffd b\u00adcat",
    "the [SEP] cat [MASK]",
    "[CLS]",
    "abcd " * 30,
    "a" * 21,
    "a" * 20,
    "İi I ı",
    "ΟΣ οσ ς",
    "ß SS ẞ",
    "\u2028the\u0085cat\u000bsat",
    "e\u0301 é",
    "“the” — cat…",
    "𠀀a𫤠",
    "\ue000a\U000e0001 the\u2060cat",
    "¿the? ٣ ²",
]
r = encoder.Reference(tmp)
rows = []
for t in texts:
    c = r.tokenizer.encode(t)
    row = {"text": t, "normalized": r.tokenizer.normalizer.normalize_str(t), "ids": c.ids, "tokens": c.tokens}
    if len(rows) in (0, 1, 2, 5, 8, 12):
        row["vector"] = [round(float(x), 7) for x in r.sentence(t)]
    rows.append(row)
a, b = r.tokens(texts[0]), r.tokens(texts[8])


def bert(c, ref, weights=lambda t: 1.0):
    ct, cv = c
    rt, rv = ref
    cv = cv / np.linalg.norm(cv, axis=1, keepdims=True)
    rv = rv / np.linalg.norm(rv, axis=1, keepdims=True)
    sim = cv @ rv.T
    cw = np.array([0.0] + [weights(t) for t in ct[1:-1]] + [0.0])
    rw = np.array([0.0] + [weights(t) for t in rt[1:-1]] + [0.0])
    P = (sim.max(1) * cw).sum() / cw.sum()
    R = (sim.max(0) * rw).sum() / rw.sum()
    return [P, R, 2 * P * R / (P + R)]


(out.parent / "tiny.json").write_text(
    json.dumps(
        {
            "source": f"tokenizers {tokenizers.__version__}, numpy {np.__version__}: bench/real/encoder.py",
            "bertscore": {"candidate": texts[8], "reference": texts[0], "prf": bert(b, a)},
            "rows": rows,
        },
        ensure_ascii=True,
        indent=0,
    )
    + "\n"
)
