"""Runs the tasks in tasks/ through lm-evaluation-harness and through telltale, both against the same
`telltale sim`, and compares prompts and scores document by document.

Usage: run.py TELLTALE [--record FILE]

TELLTALE is the built binary. --record writes what the harness got, for the Go test that needs no Python.
Run it with the Python of an environment that has lm-eval; see run.sh.
"""

import argparse
import json
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
}


@register_model("telltale-sim")
class SimCompletions(LocalCompletionsAPI):
    """local-completions with the simulated model's own tokenizer, which the harness needs to tell the tokens
    of a choice from those of the prompt. Everything else is the harness's."""

    def __init__(self, **kwargs):
        self.numbers, self.pieces = {}, []
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
        r = requests.post(self.base_url, json={"model": self.model, "prompt": string, "max_tokens": 0, "echo": True, "logprobs": 0}, timeout=30)
        r.raise_for_status()
        return r.json()["choices"][0]["logprobs"]["tokens"]

    def decode_batch(self, tokens):
        return ["".join(self.pieces[t] for t in ts) for ts in tokens]


def harness(address):
    """The harness's own result of each task: prompts and scores by document."""
    os.chdir(HERE / "tasks")  # where the harness looks for data_files
    results = lm_eval.simple_evaluate(
        model="telltale-sim",
        model_args={"base_url": address + "/completions", "model": "sim", "max_retries": 1},
        tasks=list(TASKS),
        task_manager=TaskManager(include_path=str(HERE / "tasks"), include_defaults=False),
        log_samples=True,
        bootstrap_iters=0,
    )
    out = {}
    for task, samples in results["samples"].items():
        docs = {}
        for s in samples:
            # a sample is there once for each filter
            d = docs.setdefault(s["doc_id"], {"prompt": s["arguments"][0][0], "scores": {}})
            for m in s["metrics"]:
                name = m if s["filter"] == "none" else f"{m}.{s['filter']}"
                d["scores"][name] = float(s[m])
        out[task] = [docs[i] for i in sorted(docs)]
    return out


def telltale(binary, address, task, workdir):
    out = pathlib.Path(workdir) / task
    env = dict(os.environ, OPENAI_BASE_URL=address, OPENAI_API_KEY="none")
    run = subprocess.run(
        [binary, "run", str(HERE / "tasks" / TASKS[task]), "--provider", "openai:completion:sim", "--out", str(out), "--no-cache", "--quiet"],
        env=env, capture_output=True, text=True,
    )
    if run.returncode not in (0, 1):
        sys.exit(f"telltale run {task}: exit code {run.returncode}\n{run.stdout}{run.stderr}")
    docs = []
    for line in (out / "samples.jsonl").read_text().splitlines():
        s = json.loads(line)
        docs.append({"prompt": s["vars"]["lmeval_prompt"], "scores": {c["name"]: c["value"] for c in s["scores"]}})
    return docs


def main():
    p = argparse.ArgumentParser()
    p.add_argument("telltale")
    p.add_argument("--record")
    a = p.parse_args()
    binary = os.path.abspath(a.telltale)
    record = os.path.abspath(a.record) if a.record else None
    with tempfile.TemporaryDirectory() as work:
        port = pathlib.Path(work) / "port"
        sim = subprocess.Popen([binary, "sim", "--config", str(HERE / "sim.yaml"), "--port-file", str(port)], stdout=subprocess.DEVNULL)
        try:
            for _ in range(100):
                if port.exists() and port.read_text().strip():
                    break
                time.sleep(0.1)
            address = f"http://127.0.0.1:{port.read_text().strip()}/v1"
            want = harness(address)
            bad = 0
            for task in TASKS:
                got = telltale(binary, address, task, work)
                wrong = abs(len(got) - len(want[task]))
                for i, (g, w) in enumerate(zip(got, want[task])):
                    if g != w:
                        wrong += 1
                        print(f"{task} document {i}\n  harness  {w}\n  telltale {g}")
                means = {m: sum(d["scores"][m] for d in want[task]) / len(want[task]) for m in want[task][0]["scores"]}
                print(f"{task}: {len(want[task]) - wrong} of {len(want[task])} documents the same; " + ", ".join(f"{m} {v:.4f}" for m, v in means.items()))
                bad += wrong
        finally:
            sim.terminate()
            sim.wait()
    if record:
        with open(record, "w") as f:
            json.dump({"source": f"lm-eval {lm_eval.__version__ if hasattr(lm_eval, '__version__') else ''}".strip(), "tasks": want}, f, ensure_ascii=False, indent=1)
            f.write("\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
