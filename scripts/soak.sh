#!/usr/bin/env bash
# The long runs: 10,000 run seeds of the triad under everything survivable, and
# the scenarios of class long. SEEDS changes the number. Before them, millions
# of messages through Go and Python, and 100,000 pairs of schemas through rules and
# search.
set -euo pipefail
bin=$1
scripts/ensure.sh python || true
ESPERSIM_SOAK=1 go test -count=1 -v -run 'TestSame' ./contracts/governance/crosslang
ESPERSIM_SOAK=1 go test -count=1 -v -run 'TestAgreement' ./contracts/contractstest
ESPERSIM_SOAK=1 go test -count=1 -v -run TestPlantedBugsShrink ./scenarios/runner
"$bin" run scenarios/triad-survivable.yaml --seeds "${SEEDS:-10000}"
"$bin" run scenarios/ --long
