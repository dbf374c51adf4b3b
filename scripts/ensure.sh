#!/usr/bin/env bash
# Makes sure that what a target needs is there: go; with "cc" a C compiler for
# the race detector and the stubs of NVIDIA's libraries; with "clang" the one that
# makes PTX; with "protoc" the generator of the Python stubs; with "python" the
# protobuf library that Go is compared with.
set -euo pipefail
need() {
  command -v "$1" >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $2" >&2
    apt-get update -qq >&2 && apt-get install -y -qq "$2" >&2 && return 0
  fi
  echo "espersim needs $1: install the package $2" >&2
  exit 2
}
for what in "$@"; do
  case $what in
    go)
      need git git
      if ! command -v go >/dev/null; then
        echo "espersim needs Go 1.26 or newer; see https://go.dev/doc/install" >&2
        exit 2
      fi
      ;;
    cc) need gcc gcc ;;
    clang) need clang-14 clang-14 ;;
    protoc)
      need protoc protobuf-compiler
      # Only recommended by the package, and protoc knows no Timestamp without.
      protoc=$(command -v protoc)
      [ -e "${protoc%/bin/protoc}/include/google/protobuf/timestamp.proto" ] || need timestamp.proto libprotobuf-dev
      ;;
    python)
      need /usr/bin/python3 python3
      if ! /usr/bin/python3 -c 'import google.protobuf.pyext._message' 2>/dev/null; then
        need python3-protobuf python3-protobuf
      fi
      ;;
  esac
done
