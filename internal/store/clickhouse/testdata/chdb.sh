#!/usr/bin/env bash
# Fetches a current ClickHouse engine for the tests, as a library from npm, into a directory, and prints how to use it:
#   eval "$(internal/store/clickhouse/testdata/chdb.sh ~/.cache/telltale/chdb)"
# It takes 570 MB there. The test of the wire needs apt-get install clickhouse-server besides.
set -euo pipefail
version=26.7.3-stable.1
dir=${1:?directory}/$version
case "$(uname -s)-$(uname -m)" in
  Linux-x86_64) package=@chdb/lib-linux-x64-gnu ;;
  Linux-aarch64) package=@chdb/lib-linux-arm64-gnu ;;
  Darwin-arm64) package=@chdb/lib-darwin-arm64 ;;
  Darwin-x86_64) package=@chdb/lib-darwin-x64 ;;
  *) echo "no ClickHouse engine for $(uname -s) $(uname -m)" >&2; exit 1 ;;
esac
if [ ! -f "$dir/libchdb.so" ]; then
  command -v npm >/dev/null || { echo "npm is needed to fetch $package" >&2; exit 1; }
  mkdir -p "$dir"
  part=$(mktemp -d "$dir/part-XXXXXX")
  trap 'rm -rf "$part"' EXIT
  (cd "$part" && npm pack --silent "$package@$version" >/dev/null && tar -xzf ./*.tgz package/libchdb.so)
  mv "$part/package/libchdb.so" "$dir/libchdb.so"
fi
echo "export CHDB_LIB_PATH=$dir/libchdb.so"
