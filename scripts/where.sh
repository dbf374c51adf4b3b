#!/usr/bin/env bash
# Where the time of the whole cluster goes: a CPU profile of its benchmark, each
# sample booked to the innermost package of ours that was at work.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go test -run '^$' -bench ClusterSurvivable -benchtime "${BENCHTIME:-5s}" -cpu 1 -cpuprofile "$tmp/cpu" -o "$tmp/bench" ./scenarios/runner >"$tmp/out"
grep '^Benchmark' "$tmp/out"
go tool pprof -traces "$tmp/bench" "$tmp/cpu" 2>/dev/null | awk '
function ms(s) { n = s + 0; return s ~ /us$/ ? n / 1000 : s ~ /ms$/ ? n : s ~ /mins$/ ? n * 60000 : n * 1000 }
function area(f) {
	if (f ~ /espersim\/contracts\//) return "codec"
	if (f ~ /espersim\/cluster\/sqlite|modernc.org|ncruces|wazero/) return "SQLite"
	if (f ~ /espersim\/cluster\/(trainer|graft)/) return "trainer"
	if (f ~ /espersim\/sim\/disk/) return "disk"
	if (f ~ /espersim\/checkers/) return "checkers"
	if (f ~ /espersim\/sim\/trace/) return "trace"
	if (f ~ /espersim\/sim\./) return "kernel"
	if (f ~ /espersim\/cluster\//) return "actors"
	if (f ~ /espersim\//) return "harness"
	if (f ~ /runtime\.gcBgMarkWorker|runtime\.bgsweep|runtime\.bgscavenge/) return "garbage collector"
	return ""
}
function book() { if (t > 0) { sum[what == "" ? "runtime" : what] += t; all += t } t = 0; what = "" }
/^-----------/ { book(); open = 1; next }
open && NF >= 2 && $1 ~ /^[0-9.]+(us|ms|s|mins)$/ { t = ms($1); if (what == "") what = area($2); next }
open && t > 0 && what == "" { what = area($1) }
END { book(); for (w in sum) printf "%6.1f%%  %s\n", 100 * sum[w] / all, w }' | sort -rn
