package wal_test

import (
	"fmt"

	"github.com/esper-sim/espersim/cluster/wal"
	"github.com/esper-sim/espersim/sim/disk"
)

func Example() {
	d, err := disk.New(disk.Config{})
	if err != nil {
		panic(err)
	}
	l, err := wal.Open(disk.NewFS(d, nil), "log", wal.Options{})
	if err != nil {
		panic(err)
	}
	const kind, epoch = 1, 7
	_, _ = l.Append(kind, epoch, []byte("kept"))
	if err := l.Sync(); err != nil {
		panic(err)
	}
	_, _ = l.Begin(kind, epoch, []byte("context"))
	_, _ = l.Data(kind, []byte("not committed"))
	_, _ = l.Append(kind, epoch, []byte("not synced"))
	d.Crash(nil) // the power fails

	_, err = wal.Open(disk.NewFS(d, nil), "log", wal.Options{Replay: func(r wal.Record) error {
		fmt.Printf("%d %s %s\n", r.LSN, r.Op, r.Payload)
		return nil
	}})
	fmt.Println(err)
	// Output:
	// 1 SINGLE kept
	// <nil>
}
