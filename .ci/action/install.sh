#!/usr/bin/env bash
# Puts telltale on the PATH of the job's later steps: a release, checked against its checksums, or built from source.
# In: VERSION (empty to build), SOURCE (the action's checkout), RUNNER_TEMP, GITHUB_PATH.
set -euo pipefail
bin="$RUNNER_TEMP/telltale-bin"
mkdir -p "$bin"
if [ -z "${VERSION:-}" ]; then
  (cd "$SOURCE" && CGO_ENABLED=0 go build -trimpath -o "$bin/telltale" ./cmd/telltale)
else
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) echo "::error::telltale has no release for $(uname -s); leave version empty to build it"; exit 2 ;;
  esac
  case "$(uname -m)" in
    x86_64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) echo "::error::telltale has no release for $(uname -m); leave version empty to build it"; exit 2 ;;
  esac
  base="${TELLTALE_RELEASES:-https://github.com/telltale-llm/telltale/releases/download}/$VERSION"
  file="telltale_${os}_${arch}.tar.gz"
  cd "$RUNNER_TEMP"
  curl --fail --silent --show-error --location --retry 3 -o "$file" "$base/$file"
  curl --fail --silent --show-error --location --retry 3 -o telltale_checksums.txt "$base/checksums.txt"
  sum=(shasum -a 256)
  if command -v sha256sum >/dev/null; then sum=(sha256sum); fi
  grep -E " \*?$file\$" telltale_checksums.txt | "${sum[@]}" --check --status || {
    echo "::error::the checksum of $file is not the one that release $VERSION lists"
    exit 2
  }
  tar -xzf "$file" -C "$bin" telltale
fi
"$bin/telltale" version
echo "$bin" >>"$GITHUB_PATH"
