#!/bin/sh
# Installs lm-evaluation-harness from PyPI into an environment of its own, outside the repository, and compares
# its results with telltale's. Usage: run.sh TELLTALE [--record FILE]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${TELLTALE_LMEVAL_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/telltale/lm-eval-0.4.13}
if [ ! -x "$venv/bin/python" ]; then
  python3 -m venv "$venv"
fi
if ! "$venv/bin/python" -c 'import lm_eval, tenacity, aiohttp' 2>/dev/null; then
  "$venv/bin/python" -m pip install --quiet 'lm-eval[api]==0.4.13'
fi
# Nothing is fetched from the Hub: all data are files, and the tokenizer is the simulated model's.
HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HOME="$venv/hf" LMEVAL_LOG_LEVEL=ERROR exec "$venv/bin/python" "$here/run.py" "$@"
