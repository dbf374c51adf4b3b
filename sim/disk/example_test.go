package disk_test

import (
	"fmt"

	"github.com/esper-sim/espersim/cluster/actor"
	"github.com/esper-sim/espersim/sim/disk"
)

// What a program wrote and did not sync, a crash may keep, lose, or keep in
// part.
func Example() {
	d, err := disk.New(disk.Config{})
	if err != nil {
		panic(err)
	}
	fs := disk.NewFS(d, nil)
	f, err := fs.Open("log", actor.Create)
	if err != nil {
		panic(err)
	}
	if _, err := f.WriteAt([]byte("hello"), 0); err != nil {
		panic(err)
	}
	for _, p := range d.Pending() {
		fmt.Println(p)
	}
	states := 0
	for range d.CrashStates(0) {
		states++
	}
	fmt.Println(states, "states may follow a crash")

	if err := f.Sync(); err != nil {
		panic(err)
	}
	if err := fs.SyncDir(""); err != nil {
		panic(err)
	}
	d.Crash(nil)
	p, err := d.Cached("log")
	fmt.Printf("%s %v\n", p, err)
	// Output:
	// SetEntry /log
	// Write log 0+5
	// SetSize log 5
	// 5 states may follow a crash
	// hello <nil>
}
