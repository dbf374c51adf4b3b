// Command cmd runs the table of planted bugs: each bug in, and its invariant is
// violated; the same run without it is clean. It prints a line for each, with the
// run seeds that it took, and exits with 1 if one was not found.
//
//	go run ./scenarios/planted/cmd [--root DIR] [ID …]
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/esper-sim/espersim/scenarios/planted"
)

func main() {
	root := flag.String("root", ".", "the repository")
	flag.Parse()
	failed := 0
	said := func(id, what string, seeds int, err error) {
		switch {
		case err != nil:
			failed++
			fmt.Printf("%-4s NOT FOUND  %v\n", id, err)
		case seeds == 0:
			fmt.Printf("%-4s found      %s\n", id, what)
		default:
			fmt.Printf("%-4s seed %-5d %s\n", id, seeds, what)
		}
	}
	wanted := func(id string) bool { return flag.NArg() == 0 || slices.Contains(flag.Args(), id) }
	for _, s := range planted.Statics() {
		if wanted(s.ID) {
			said(s.ID, s.Where+": "+s.Bug, 0, s.Hunt(*root))
		}
	}
	for _, b := range planted.Bugs() {
		if wanted(b.Invariant()) {
			n, err := b.Hunt(filepath.Join(*root, "scenarios"))
			said(b.Invariant(), b.Where()+" "+b.What(), n, err)
		}
	}
	if failed > 0 {
		fmt.Printf("%d were not found\n", failed)
		os.Exit(1)
	}
}
