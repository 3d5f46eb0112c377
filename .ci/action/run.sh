#!/usr/bin/env bash
# Runs the suite and keeps the exit code for the job's last step, so that results are uploaded first.
# In: SUITE, ARGS (one argument a line), OUT, BASELINE, GITHUB_OUTPUT.
set -uo pipefail
arguments=(run)
[ -n "${SUITE:-}" ] && arguments+=("$SUITE")
arguments+=(--out "$OUT" --ci github --no-progress)
[ -n "${BASELINE:-}" ] && arguments+=(--baseline "$BASELINE")
while IFS= read -r line; do
  [ -n "$line" ] && arguments+=("$line")
done <<<"${ARGS:-}"
telltale "${arguments[@]}"
echo "code=$?" >>"$GITHUB_OUTPUT"
