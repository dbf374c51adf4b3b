#!/usr/bin/env bash
# What a commit must pass.
set -euo pipefail
scripts/ensure.sh go cc
bin=bin/espersim

echo '== formatting'
unformatted=$(gofmt -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { echo "not formatted: $unformatted" >&2; exit 1; }

echo '== vet'
go vet ./...

echo '== without cgo'
CGO_ENABLED=0 go build ./...
CGO_ENABLED=0 go vet ./gpu/...

echo '== generated code'
make -s generate
git diff --exit-code -- contracts scenarios/schema.json

echo '== tests'
make -s test

echo '== determinism: processors, builds, race detector, checkers, JSON, trace'
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -trimpath -o "$tmp/second" ./cmd/espersim
go build -race -o "$tmp/race" ./cmd/espersim
hashes() { sed -nE 's/.*"scenario":"([^"]*)","name":"[^"]*","run_seed":([0-9]+).*"trace_hash":"([0-9a-f]+)".*/\1 \2 \3/p' | sort; }
for s in scenarios/triad-calm.yaml scenarios/triad-survivable.yaml scenarios/wal-hardened.yaml; do
  run() { "$@" run "$s" --seeds 3 --json | hashes; }
  want=$(GOMAXPROCS=1 run "$bin")
  [ -n "$want" ] || { echo "no runs of $s" >&2; exit 1; }
  for how in "GOMAXPROCS=2 $bin" "$tmp/second" "$tmp/race" "$bin --no-judge" "$bin --keep-trace $tmp/traces"; do
    case $how in
      GOMAXPROCS*) got=$(GOMAXPROCS=2 run "$bin") ;;
      *--no-judge) got=$("$bin" run "$s" --seeds 3 --json --no-judge | hashes) ;;
      *--keep-trace*) got=$("$bin" run "$s" --seeds 3 --json --keep-trace "$tmp/traces" | hashes) ;;
      *) got=$(run $how) ;;
    esac
    if [ "$got" != "$want" ]; then
      echo "$s: $how gives other hashes:" >&2
      diff <(echo "$want") <(echo "$got") >&2 || true
      exit 3
    fi
  done
  echo "$s: equal"
done
