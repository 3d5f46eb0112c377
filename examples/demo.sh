#!/bin/sh
# What `make demo` shows: the main job on what is in the repository, without a key and without network.
set -eu
cd "$(dirname "$0")/.."
out=.telltale/demo
rm -rf "$out"

say() { printf '\n== %s\n\n' "$*"; }

say "1. IFEval: eight prompts and recorded answers, every instruction checked"
bin/telltale run examples/ifeval/telltale.yaml --out "$out/ifeval"

say "2. A support assistant on the built-in simulated model"
bin/telltale run examples/quickstart/telltale.yaml --out "$out/quickstart"

say "3. The next version of that assistant, with a planted regression: this run must fail"
code=0
bin/telltale run examples/quickstart/regression.yaml --out "$out/regression" || code=$?
if [ "$code" -ne 1 ]; then
  echo "the regression was not found: exit code $code, wanted 1" >&2
  exit 1
fi

say "4. The same version compared with the run of step 2, within margins: this run must fail too"
code=0
bin/telltale run examples/quickstart/margins.yaml --baseline "$out/quickstart" --out "$out/margins" || code=$?
if [ "$code" -ne 1 ]; then
  echo "the comparison did not find the regression: exit code $code, wanted 1" >&2
  exit 1
fi

say "Done. The regression was found (exit code 1). Open $out/regression/report.html to see it."
