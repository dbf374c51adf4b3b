// Package build holds what the contracts are built with, and their manifest. Its
// tests are of the files beside it, which install the toolchain and build its
// image.
package build

import _ "embed"

// Manifest is versions.yaml.
//
//go:embed versions.yaml
var Manifest []byte
