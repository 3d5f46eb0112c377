#!/usr/bin/env bash
# Puts telltale on the PATH of the job's later steps: a release, checked against its checksums, or built from source.
# In: VERSION (empty to build), SOURCE (the action's checkout), RUNNER_TEMP, GITHUB_PATH; TELLTALE_RELEASES names
# another place than GitHub that releases are downloaded from.
set -euo pipefail
bin="$RUNNER_TEMP/telltale-bin"
mkdir -p "$bin"

stop() {
  echo "::error title=telltale::$1"
  exit 2
}

if [ -z "${VERSION:-}" ]; then
  (cd "$SOURCE" && GOWORK=off CGO_ENABLED=0 go build -trimpath -o "$bin/telltale" ./cmd/telltale)
else
  case "$(uname -s)" in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) stop "there is no release for $(uname -s); leave version empty to build it" ;;
  esac
  case "$(uname -m)" in
    x86_64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) stop "there is no release for $(uname -m); leave version empty to build it" ;;
  esac
  base="${TELLTALE_RELEASES:-https://github.com/telltale-llm/telltale/releases/download}/$VERSION"
  file="telltale_${os}_${arch}.tar.gz"
  cd "$RUNNER_TEMP"
  for name in "$file" checksums.txt; do
    curl --fail --silent --show-error --location --retry 3 -o "$name" "$base/$name" ||
      stop "release $VERSION has no $name that could be downloaded from $base"
  done
  sum=(shasum -a 256)
  if command -v sha256sum >/dev/null; then sum=(sha256sum); fi
  grep -E " \*?$file\$" checksums.txt | "${sum[@]}" --check --status ||
    stop "the checksum of $file is not the one that release $VERSION lists"
  tar -xzf "$file" -C "$bin" telltale
fi
"$bin/telltale" version
echo "$bin" >>"$GITHUB_PATH"
