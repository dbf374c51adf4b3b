#!/usr/bin/env bash
# The long runs: 10,000 run seeds of the triad under everything survivable, and
# the scenarios of class long. SEEDS changes the number.
set -euo pipefail
bin=$1
"$bin" run scenarios/triad-survivable.yaml --seeds "${SEEDS:-10000}"
"$bin" run scenarios/ --long
