#!/usr/bin/env bash
# Installs the tools of toolchain.yaml into a folder, and nothing anywhere else:
#
#   contracts/build/install-toolchain.sh DIR
#   . DIR/env.sh    # puts them on the search paths
#
# Each download is held against its SHA-256 before it is used. Go is downloaded
# only where the go command is not of the pinned version. It needs apt-get and
# dpkg (for any user), curl and unzip where Go is missing, and a network.
#
# Exit codes: 0 installed, 1 a download is not what the list says, 2 usage or
# something that this needs is missing.
set -euo pipefail
fail() { echo "install-toolchain: $2" >&2; exit "$1"; }
[ $# = 1 ] || fail 2 "want one argument, the folder to install into"
list=${TOOLCHAIN:-$(cd "$(dirname "$0")" && pwd)/toolchain.yaml}
[ -r "$list" ] || fail 2 "there is no $list"
mkdir -p "$1" || fail 2 "$1 cannot be made"
dir=$(cd "$1" && pwd)
tmp=$(mktemp -d "$dir/.download-XXXXXX")
trap 'rm -rf "$tmp"' EXIT

# check FILE SHA256 NAME
check() {
  local have
  have=$(sha256sum "$1" | cut -d' ' -f1)
  [ "$have" = "$2" ] || fail 1 "$3 has SHA-256 $have; $list says $2"
}
# value SECTION KEY: a value of one of the list's mappings
value() { awk -v s="$1:" -v k="$2:" '/^[a-z]/ {in_s = $1 == s} in_s && $1 == k {print $2; exit}' "$list"; }

# packages: name version architecture sha256, a line each
packages() {
  awk '/^[a-z]/ {on = $1 == "packages:"}
    !on {next}
    $1 == "-" && $2 == "name:" {name = $3}
    $1 == "version:" {version = $2}
    $1 == "architecture:" {arch = $2}
    $1 == "deb_sha256:" {print name, version, arch, $2}' "$list"
}
# modules: path version sha256, a line each
modules() {
  awk '/^[a-z]/ {on = $1 == "modules:"}
    !on {next}
    $1 == "-" && $2 == "path:" {path = $3}
    $1 == "version:" {version = $2}
    $1 == "sum_sha256:" {print path, version, $2}' "$list"
}

# What awk could not read would be left out in silence.
for table in packages modules; do
  $table | awk -v want=$([ $table = packages ] && echo 4 || echo 3) 'NF != want {bad = 1} END {exit bad || NR == 0}' ||
    fail 2 "$list: $table: want block style, a key a line, in the order name or path, version, digest"
done

# Debian's packages.
command -v apt-get >/dev/null && command -v dpkg >/dev/null || fail 2 "apt-get and dpkg are needed"
native=$(dpkg --print-architecture)
packages | while read -r name version arch sum; do
  [ "$arch" = "$native" ] || [ "$arch" = all ] || fail 2 "the list has $name for $arch; this machine is $native"
  # An index has one version of a package, and perhaps another one than the
  # list; a mirror has older and newer ones beside it.
  uri=$(cd "$tmp" && apt-get download --print-uris "$name" 2>apt.log | sed -n "s/^'\([^']*\)'.*/\1/p" | head -1 || true)
  [ -n "$uri" ] || fail 2 "apt-get knows no package $name: $(tail -1 "$tmp/apt.log"); is the package index there (apt-get update)?"
  file=${name}_${version#*:}_$arch.deb
  deb=$tmp/$name.deb
  uri=${uri%/*}/${file//+/%2b}
  /usr/lib/apt/apt-helper download-file "$uri" "$deb" >"$tmp/apt.log" 2>&1 ||
    fail 2 "$uri cannot be downloaded: $(tail -1 "$tmp/apt.log")"
  check "$deb" "$sum" "$name $version"
  dpkg -x "$deb" "$dir"
done

# Go.
version=$(value go version)
go=$(command -v go || true)
if [ -z "$go" ] || [ "$(GOTOOLCHAIN=local "$go" env GOVERSION)" != "go$version" ]; then
  for tool in curl unzip; do
    command -v $tool >/dev/null || fail 2 "$tool is needed to install Go $version"
  done
  module=$(value go module)
  [ -n "${GOPROXY:-}" ] || fail 2 "Go $version is not installed; install it, or say in GOPROXY which module proxy has it"
  proxy=${GOPROXY%%[,|]*}
  curl -fsSL -o "$tmp/go.zip" "$proxy/${module%@*}/@v/${module#*@}.zip" || fail 2 "$module cannot be downloaded from $proxy"
  check "$tmp/go.zip" "$(value go zip_sha256)" "$module"
  unzip -q "$tmp/go.zip" -d "$tmp/go"
  rm -rf "$dir/go"
  mv "$tmp/go/$module" "$dir/go"
  # The zip of a module keeps no permissions.
  chmod +x "$dir/go/bin/"* "$dir/go/pkg/tool/"*/*
  go=$dir/go/bin/go
fi
# The list has the sums that the checksum database would be asked for.
export GOTOOLCHAIN=local GOFLAGS= GOSUMDB=off

# Go's modules, and from the first of them protoc-gen-go. The sum of go.sum is
# base64 of a SHA-256.
modules | while read -r path version sum; do
  have=$(cd "$tmp" && "$go" mod download -json "$path@$version" | sed -n 's/^\t"Sum": "h1:\(.*\)",\{0,1\}$/\1/p' | base64 -d | od -An -v -tx1 | tr -d ' \n') ||
    fail 2 "$path@$version cannot be downloaded"
  [ "$have" = "$sum" ] || fail 1 "$path@$version has the sum $have; $list says $sum"
done
path=google.golang.org/protobuf
version=$(modules | awk -v p=$path '$1 == p {print $2}')
mkdir -p "$dir/bin"
(cd "$tmp" && GOBIN=$dir/bin "$go" install -trimpath "$path/cmd/protoc-gen-go@$version") || fail 2 "protoc-gen-go cannot be built"

libs=$(cd "$dir/usr/lib" && echo *-linux-gnu*)
cat >"$dir/env.sh" <<EOF
export PATH="$dir/bin:$dir/usr/bin:$([ -d "$dir/go" ] && echo "$dir/go/bin:")\$PATH"
export LD_LIBRARY_PATH="$dir/usr/lib/$libs\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
export PYTHONPATH="$dir/usr/lib/python3/dist-packages\${PYTHONPATH:+:\$PYTHONPATH}"
EOF
echo "installed into $dir; . $dir/env.sh puts it on the search paths"
