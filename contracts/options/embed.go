// Package options carries the source of the governance options, so that a
// schema outside of this module can import them.
package options

import _ "embed"

// Path is the name under which a schema imports the options.
const Path = "options/options.proto"

// Source is the text of the options' file.
//
//go:embed options.proto
var Source string
