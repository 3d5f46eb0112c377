#!/usr/bin/env bash
# Builds what a release holds: an archive for each system and its checksums, under the names that .ci/action/install.sh asks for.
# In: a directory, a version, linker flags. The binaries are without cgo, and so without DuckDB: they run suites, and serve with ClickHouse.
set -euo pipefail
dir=$1 version=$2 flags=$3
mkdir -p "$dir/$version"
dir=$(cd "$dir/$version" && pwd)
temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
for target in ${TARGETS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64}; do
  os=${target%/*} arch=${target#*/}
  GOOS=$os GOARCH=$arch CGO_ENABLED=0 go build -trimpath -ldflags "$flags" -o "$temp/telltale" ./cmd/telltale
  tar -czf "$dir/telltale_${os}_${arch}.tar.gz" -C "$temp" telltale -C "$PWD" LICENSE NOTICE
done
cd "$dir"
sum=(shasum -a 256)
if command -v sha256sum >/dev/null; then sum=(sha256sum); fi
"${sum[@]}" telltale_*.tar.gz >checksums.txt
