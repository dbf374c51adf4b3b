#!/usr/bin/env bash
# Makes gpu/kernels/kernels.ptx of kernels.cu: by clang 14, for the oldest device that
# is supported, without contraction, and with the digest of its source on top. The
# same clang makes the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../gpu/kernels"
new=$(mktemp kernels.ptx.XXXX)
trap 'rm -f "$new"' EXIT
{
  echo "// Made by make ptx of kernels.cu, SHA-256 $(sha256sum kernels.cu | cut -d' ' -f1),"
  echo "// by $(clang-14 --version | sed -nE '1s/.*(clang version [0-9.]+).*/\1/p')."
  clang-14 -x cuda --cuda-device-only --cuda-gpu-arch=sm_70 -nocudainc -nocudalib -Xclang -target-feature -Xclang +ptx63 \
    -O2 -ffp-contract=off -fno-unroll-loops -fno-vectorize -Wall -Wextra -Werror -S -o - kernels.cu
} >"$new"
chmod 644 "$new"
mv "$new" kernels.ptx
