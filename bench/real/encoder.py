"""A BERT sentence encoder twice over: written out as ONNX, and computed with numpy.

telltale reads encoders as ONNX, which the encoder's Python package may not ship. `export` writes the
forward pass of BERT (Devlin et al. 2018) over the package's own weights as an ONNX file; `Reference`
computes the same pass with numpy from those weights and does not read the ONNX file, so that an
error in either shows as a difference.
"""

import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file
from tokenizers import Tokenizer

OPSET = 14


def weights_of(folder):
    tensors = load_file(str(pathlib.Path(folder) / "model.safetensors"))
    return {name.removeprefix("bert."): value for name, value in tensors.items()}


def settings_of(folder):
    return json.loads((pathlib.Path(folder) / "config.json").read_text())


class Graph:
    """Collects the nodes of an ONNX graph and names their outputs."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.constants = {}

    def op(self, kind, *inputs, **attributes):
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))
        return out

    def constant(self, name, value):
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name, transpose=False):
        value = self.weights[name]
        return self.constant(name, value.T if transpose else value)

    def dense(self, x, name):
        product = self.op("MatMul", x, self.weight(name + ".weight", transpose=True))
        return self.op("Add", product, self.weight(name + ".bias"))

    def normal(self, x, name, epsilon):
        mean = self.op("ReduceMean", x, axes=[-1], keepdims=1)
        centred = self.op("Sub", x, mean)
        square = self.op("Mul", centred, centred)
        variance = self.op("ReduceMean", square, axes=[-1], keepdims=1)
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant("epsilon", np.float32(epsilon))))
        scaled = self.op("Mul", self.op("Div", centred, deviation), self.weight(name + ".weight"))
        return self.op("Add", scaled, self.weight(name + ".bias"))

    def gelu(self, x):
        inner = self.op("Erf", self.op("Div", x, self.constant("root2", np.float32(np.sqrt(2.0)))))
        doubled = self.op("Mul", x, self.op("Add", inner, self.constant("one", np.float32(1))))
        return self.op("Mul", doubled, self.constant("half", np.float32(0.5)))


def export(folder, target):
    """Writes the encoder in folder to target as ONNX."""
    config = settings_of(folder)
    g = Graph(weights_of(folder))
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    size, epsilon = hidden // heads, config["layer_norm_eps"]

    limit = config["max_position_embeddings"]
    length = g.op("Gather", g.op("Shape", "input_ids"), g.constant("index1", np.array([1], np.int64)), axis=0)
    positions = g.op("Slice", g.constant("positions", np.arange(limit, dtype=np.int64)), g.constant("index0", np.array([0], np.int64)), length)
    x = g.op("Gather", g.weight("embeddings.word_embeddings.weight"), "input_ids", axis=0)
    x = g.op("Add", x, g.op("Gather", g.weight("embeddings.token_type_embeddings.weight"), "token_type_ids", axis=0))
    x = g.op("Add", x, g.op("Gather", g.weight("embeddings.position_embeddings.weight"), positions, axis=0))
    x = g.normal(x, "embeddings.LayerNorm", epsilon)

    mask = g.op("Cast", g.op("Unsqueeze", "attention_mask", g.constant("axes12", np.array([1, 2], np.int64))), to=TensorProto.FLOAT)
    bias = g.op("Mul", g.op("Sub", g.constant("one", np.float32(1)), mask), g.constant("lowest", np.float32(-1e9)))
    split = g.constant("split", np.array([0, 0, heads, size], np.int64))
    join = g.constant("join", np.array([0, 0, hidden], np.int64))
    for i in range(config["num_hidden_layers"]):
        layer = f"encoder.layer.{i}."

        def part(name, perm):
            y = g.op("Reshape", g.dense(x, layer + "attention.self." + name), split)
            return g.op("Transpose", y, perm=perm)

        scores = g.op("MatMul", part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]))
        scores = g.op("Div", scores, g.constant("scale", np.float32(np.sqrt(size))))
        attention = g.op("Softmax", g.op("Add", scores, bias), axis=-1)
        seen = g.op("Transpose", g.op("MatMul", attention, part("value", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
        y = g.dense(g.op("Reshape", seen, join), layer + "attention.output.dense")
        x = g.normal(g.op("Add", y, x), layer + "attention.output.LayerNorm", epsilon)
        y = g.dense(g.gelu(g.dense(x, layer + "intermediate.dense")), layer + "output.dense")
        x = g.normal(g.op("Add", y, x), layer + "output.LayerNorm", epsilon)
    g.nodes.append(helper.make_node("Identity", [x], ["last_hidden_state"]))

    ids = [helper.make_tensor_value_info(n, TensorProto.INT64, ["batch", "length"]) for n in ("input_ids", "attention_mask", "token_type_ids")]
    out = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "length", hidden])
    graph = helper.make_graph(g.nodes, "bert", ids, [out], list(g.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def erf(x):
    """The error function to 1e-12, by its Taylor series near 0 and a continued fraction beyond."""
    from math import erf as exact
    return np.vectorize(exact, otypes=[np.float64])(x)


class Reference:
    """The encoder computed with numpy in double precision."""

    def __init__(self, folder):
        self.config = settings_of(folder)
        self.weights = {k: v.astype(np.float64) for k, v in weights_of(folder).items() if v.dtype.kind == "f"}
        self.tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
        limit = json.loads((pathlib.Path(folder) / "sentence_bert_config.json").read_text())["max_seq_length"]
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(limit)

    def dense(self, x, name):
        return x @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def normal(self, x, name):
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / scale * self.weights[name + ".weight"] + self.weights[name + ".bias"]

    def tokens(self, text):
        """The tokens of a text, with [CLS] and [SEP], and their vectors in the last layer."""
        coded = self.tokenizer.encode(text)
        w, ids = self.weights, np.array(coded.ids)
        x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
        x = self.normal(x + w["embeddings.position_embeddings.weight"][: len(ids)], "embeddings.LayerNorm")
        heads = self.config["num_attention_heads"]
        for i in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{i}."
            q, k, v = (self.dense(x, layer + "attention.self." + n).reshape(len(ids), heads, -1).swapaxes(0, 1) for n in ("query", "key", "value"))
            scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            seen = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(ids), -1)
            x = self.normal(self.dense(seen, layer + "attention.output.dense") + x, layer + "attention.output.LayerNorm")
            y = self.dense(x, layer + "intermediate.dense")
            y = 0.5 * y * (1 + erf(y / np.sqrt(2)))
            x = self.normal(self.dense(y, layer + "output.dense") + x, layer + "output.LayerNorm")
        return coded.tokens, x

    def sentence(self, text):
        """The mean of the tokens' vectors as a unit vector."""
        mean = self.tokens(text)[1].mean(0)
        return mean / np.linalg.norm(mean)
