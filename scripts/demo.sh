#!/usr/bin/env bash
# What "make run" shows: the HLD's write-ahead log as it is written loses what
# it acknowledged, the run seed shows it again, and the hardened log and the
# training triad survive the same faults.
set -euo pipefail
bin=$1
say() { printf '\n== %s\n\n' "$*"; }

say 'The write-ahead log of the HLD, as it is written, under crashes'
out=$("$bin" run scenarios/hld/wal-as-written.yaml --show)
echo "$out"
again=$(sed -n 's/^ *again: espersim //p' <<<"$out" | head -1)

say "The same run again: espersim $again"
code=0
"$bin" $again || code=$?
[ "$code" = 1 ] || { echo "the replay ended with $code; want 1, a violation" >&2; exit 3; }

say 'The hardened log under the same faults'
"$bin" run scenarios/wal-hardened.yaml

say 'The training triad under everything that can be survived'
"$bin" run scenarios/triad-survivable.yaml
