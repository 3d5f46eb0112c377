"""Runs the tasks in tasks/ through lm-evaluation-harness and through telltale, each against a `telltale sim` of
the same settings, and compares prompts and scores document by document, and the metrics of tasks and groups.

Usage: run.py TELLTALE [--record FILE]

TELLTALE is the built binary. --record writes what the harness got, for the Go test that needs no Python.
Run it with the Python of an environment that has lm-eval; see run.sh.
"""

import argparse
import json
import math
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import lm_eval
import requests
from lm_eval.api.registry import register_model
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

HERE = pathlib.Path(__file__).resolve().parent
TASKS = {
    "conformance_capitals": "capitals.yaml",
    "conformance_sums": "sums.yaml",
    "conformance_physics": "physics.yaml",
    "conformance_lastword": "lastword.yaml",
    "conformance_pages": "pages.yaml",
    "conformance_translate": "translate.yaml",
    "conformance_votes": "votes.yaml",
    "conformance_claims": "claims.yaml",
    "conformance_group": "group.yaml",
}
PREFIX = "."  # the start token before a text whose whole likelihood is asked for


@register_model("telltale-sim")
class SimCompletions(LocalCompletionsAPI):
    """local-completions with the simulated model's own tokenizer, which the harness needs to tell the tokens
    of a choice from those of the prompt, and without a seed, so that several answers to one prompt differ.
    Everything else is the harness's."""

    def __init__(self, tokens_url, **kwargs):
        self.numbers, self.pieces, self.tokens_url = {}, [], tokens_url
        super().__init__(tokenizer_backend=None, eos_string="", **kwargs)
        self.tokenizer = "that of the simulated model"

    def tok_encode(self, string, **kwargs):
        out = []
        for p in self.ask_tokens(string):
            if p not in self.numbers:
                self.numbers[p] = len(self.pieces)
                self.pieces.append(p)
            out.append(self.numbers[p])
        return out

    def ask_tokens(self, string):
        """The server itself says what its tokens are: an echo with log-probabilities lists them."""
        r = requests.post(self.tokens_url, json={"model": self.model, "prompt": string, "max_tokens": 0, "echo": True, "logprobs": 0}, timeout=30)
        r.raise_for_status()
        return r.json()["choices"][0]["logprobs"]["tokens"]

    @property
    def prefix_token_id(self):
        return self.tok_encode(PREFIX)[0]

    def _create_payload(self, *args, **kwargs):
        payload = super()._create_payload(*args, **kwargs)
        payload.pop("seed", None)
        return payload

    def decode_batch(self, tokens):
        return ["".join(self.pieces[t] for t in ts) for ts in tokens]


def harness(address, tokens, task):
    """The harness's own result: prompts and scores by task and document, and the metrics of tasks and groups."""
    os.chdir(HERE / "tasks")  # where the harness looks for data_files
    results = lm_eval.simple_evaluate(
        model="telltale-sim",
        model_args={"base_url": address + "/completions", "tokens_url": tokens + "/completions", "model": "sim", "max_retries": 1},
        tasks=[task],
        task_manager=TaskManager(include_path=str(HERE / "tasks"), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    out = {}
    for name, samples in results["samples"].items():
        docs = {}
        for s in samples:
            # a sample is there once for each filter
            rolling = len(s["arguments"][0]) == 1
            d = docs.setdefault(s["doc_id"], {"prompt": PREFIX if rolling else s["arguments"][0][0], "scores": {}})
            for m in s["metrics"]:
                if m == "perplexity":  # kept as the log-likelihood
                    d["scores"][m] = math.exp(-s[m])
                elif not isinstance(s[m], (list, tuple)):  # what goes into a metric of the corpus is no score
                    d["scores"][title(m, s["filter"])] = float(s[m])
        out[name] = [docs[i] for i in sorted(docs)]
    metrics = {}
    for name, values in {**results["results"], **results.get("groups", {})}.items():
        for key, v in values.items():
            m, _, f = key.partition(",")
            if f and not m.endswith("_stderr"):
                metrics[name + "." + title(m, f) if task == "conformance_group" else title(m, f)] = float(v)
    return {"documents": out, "metrics": metrics}


def title(metric, pipeline):
    return metric if pipeline == "none" else f"{metric}.{pipeline}"


def telltale(binary, address, task, workdir):
    out = pathlib.Path(workdir) / task
    env = dict(os.environ, OPENAI_BASE_URL=address, OPENAI_API_KEY="none")
    run = subprocess.run(
        [binary, "run", str(HERE / "tasks" / TASKS[task]), "--provider", "{id: 'openai:completion:sim', config: {seed: false}}",
         "--var", "prefix=" + PREFIX, "--out", str(out), "--no-cache", "--quiet"],
        env=env, capture_output=True, text=True,
    )
    if run.returncode not in (0, 1, 3):  # 3: what only measures has no verdict
        sys.exit(f"telltale run {task}: exit code {run.returncode}\n{run.stdout}{run.stderr}")
    docs = {}
    for line in (out / "samples.jsonl").read_text().splitlines():
        s = json.loads(line)
        name = s["case"].rpartition("/")[0]
        scores = {c["name"].removeprefix(name + "."): c["value"] for c in s["scores"]}
        docs.setdefault(name, []).append({"prompt": s["vars"]["lmeval_prompt"], "scores": scores})
    metrics = json.loads((out / "run.json").read_text())["metrics"]
    return {"documents": docs, "metrics": {k: m.get("mean") for k, m in metrics.items()}}


def same(want, got):
    return got is not None and abs(want - got) <= 1e-9 * max(1, abs(want))


def compare(task, want, got):
    """Prints what differs and returns how much."""
    total = bad = 0
    for name, docs in want["documents"].items():
        ours = got["documents"].get(name, [])
        total, bad = total + len(docs), bad + abs(len(docs) - len(ours))
        for i, (w, g) in enumerate(zip(docs, ours)):
            if g["prompt"] != w["prompt"] or any(not same(v, g["scores"].get(m)) for m, v in w["scores"].items()):
                bad += 1
                print(f"{name} document {i}\n  harness  {w}\n  telltale {g}")
    wrong = {m: (v, got["metrics"].get(m)) for m, v in want["metrics"].items() if not same(v, got["metrics"].get(m))}
    for m, (w, g) in wrong.items():
        print(f"{task} metric {m}\n  harness  {w}\n  telltale {g}")
    print(f"{task}: {total - bad} of {total} documents and {len(want['metrics']) - len(wrong)} of {len(want['metrics'])} metrics the same; "
          + ", ".join(f"{m} {v:.4f}" for m, v in want["metrics"].items()))
    return bad + len(wrong)


def serve(binary, work, name):
    """Starts a simulated model and returns its address and its process."""
    port = pathlib.Path(work) / name
    sim = subprocess.Popen([binary, "sim", "--config", str(HERE / "sim.yaml"), "--port-file", str(port)], stdout=subprocess.DEVNULL)
    for _ in range(100):
        if port.exists() and port.read_text().strip():
            break
        time.sleep(0.1)
    return f"http://127.0.0.1:{port.read_text().strip()}/v1", sim


def main():
    p = argparse.ArgumentParser()
    p.add_argument("telltale")
    p.add_argument("--record")
    a = p.parse_args()
    binary = os.path.abspath(a.telltale)
    record = os.path.abspath(a.record) if a.record else None
    want, bad = {}, 0
    with tempfile.TemporaryDirectory() as work:
        # The simulated model counts requests that have no seed, so that each side has one of its own.
        addresses, sims = zip(*(serve(binary, work, name) for name in ("harness", "tokens", "telltale")))
        try:
            for task in TASKS:
                want[task] = harness(addresses[0], addresses[1], task)
                bad += compare(task, want[task], telltale(binary, addresses[2], task, work))
        finally:
            for sim in sims:
                sim.terminate()
                sim.wait()
    if record:
        with open(record, "w") as f:
            json.dump({"source": f"lm-eval {lm_eval.__version__ if hasattr(lm_eval, '__version__') else ''}".strip(), "tasks": want}, f, ensure_ascii=False, indent=1)
            f.write("\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
