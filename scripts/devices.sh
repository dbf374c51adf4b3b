#!/usr/bin/env bash
# The tests of what is only built in on demand: NVML, which needs cgo and a tag, and
# CUDA without cgo. They drive the real loading of libraries, against stubs that they
# build.
set -euo pipefail
# The binding names functions that newer drivers call deprecated.
export CGO_CFLAGS="${CGO_CFLAGS:--O2 -g} -Wno-deprecated-declarations"
CGO_ENABLED=1 go vet -tags nvml ./gpu/... ./cmd/espersim
CGO_ENABLED=1 go test -tags nvml ./gpu/nvml/...
CGO_ENABLED=1 go test -tags nvml -run GPU ./cmd/espersim
CGO_ENABLED=0 go vet -tags cuda ./gpu/...
CGO_ENABLED=0 go test -tags cuda ./gpu/cuda/...
