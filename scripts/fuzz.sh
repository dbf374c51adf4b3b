#!/usr/bin/env bash
# Runs every native fuzz test for FUZZTIME (default 30s each).
set -euo pipefail
time=${FUZZTIME:-30s}
grep -rlE '^func Fuzz' --include='*_test.go' . | while read -r file; do
  sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file" | while read -r name; do
    echo "== $name in $(dirname "$file")"
    go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" "./$(dirname "$file")" </dev/null
  done
done
