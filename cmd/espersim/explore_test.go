package main

import "testing"

func TestExploreGolden(t *testing.T) {
	for _, c := range []struct {
		name string
		code int
		args []string
	}{
		{"explore-help", 0, []string{"explore", "disk", "--help"}},
		{"explore-none", 2, []string{"explore", "dsik"}},
		{"explore-disk", 0, []string{"explore", "disk", "--workload", "bus", "--ops", "0"}},
		{"explore-disk-known", 0, []string{"explore", "disk", "--ops", "0"}},
		{"explore-disk-violated", 1, []string{"explore", "disk", "--workload", "hld"}},
		{"explore-disk-json", 1, []string{"explore", "disk", "--workload", "hld", "--json"}},
		{"explore-disk-case", 0, []string{"explore", "disk", "--workload", "checkpoint/used/save"}},
		{"explore-disk-again", 1, []string{"explore", "disk", "--workload", "hld/used/append", "--at", "16", "--state", "7"}},
		{"explore-disk-again-json", 1, []string{"explore", "disk", "--workload", "hld/used/append", "--at", "17", "--json"}},
		{"explore-disk-again-recovery", 0, []string{"explore", "disk", "--workload", "wal/used/append,sync", "--at", "64", "--state", "3", "--recovery-at", "30", "--recovery-state", "0"}},
		{"explore-disk-workload", 2, []string{"explore", "disk", "--workload", "wall"}},
		{"explore-disk-operation", 2, []string{"explore", "disk", "--workload", "wal/used/comit"}},
		{"explore-disk-place", 2, []string{"explore", "disk", "--workload", "hld/used/append", "--at", "1"}},
		{"explore-disk-state", 2, []string{"explore", "disk", "--workload", "hld/used/append", "--at", "17", "--state", "1"}},
		{"explore-disk-at-alone", 2, []string{"explore", "disk", "--at", "1"}},
		{"explore-disk-state-alone", 2, []string{"explore", "disk", "--state", "1"}},
		{"explore-disk-recovery-state-alone", 2, []string{"explore", "disk", "--workload", "hld/used/append", "--at", "17", "--recovery-state", "1"}},
		{"explore-disk-ops", 2, []string{"explore", "disk", "--ops", "-1"}},
		{"explore-disk-case-ops", 2, []string{"explore", "disk", "--workload", "hld/used/append", "--ops", "1"}},
		{"explore-order", 0, []string{"explore", "order", "--window", "publish", "--deviations", "1"}},
		{"explore-order-json", 0, []string{"explore", "order", "--window", "pause", "--deviations", "0", "--json"}},
		{"explore-order-schedule", 0, []string{"explore", "order", "--window", "publish", "--schedule", "overtake@1+30ms"}},
		{"explore-order-window", 2, []string{"explore", "order", "--window", "rolback"}},
		{"explore-order-deviation", 2, []string{"explore", "order", "--window", "pause", "--schedule", "loose@3"}},
		{"explore-order-message", 2, []string{"explore", "order", "--window", "pause", "--schedule", "lose@300"}},
		{"explore-order-both", 2, []string{"explore", "order", "--window", "pause", "--schedule", "lose@3", "--deviations", "1"}},
		{"explore-order-schedule-alone", 2, []string{"explore", "order", "--schedule", "lose@3"}},
		{"explore-order-negative", 2, []string{"explore", "order", "--deviations", "-1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, text := command("", c.args...)
			if code != c.code {
				t.Errorf("exit code %d; want %d", code, c.code)
			}
			golden(t, c.name, text)
		})
	}
}
