package config

import (
	"fmt"
	"strconv"
)

// Keys of the configuration.
const (
	CheckpointEvery = "tolaria/checkpoint-every" // epochs between checkpoints
	TelemetryEvery  = "kasmina/telemetry-every"  // steps between reports of a seed; 0: none between epochs
	CommandTTL      = "tamiyo/command-ttl"       // epochs in which a command is in force
	EvaluateEvery   = "nissa/evaluate-ms"        // between two evaluations of the rules
	FanIn           = "narset/fan-in"            // most reports a summary
)

// ranges of the values: all are whole numbers.
var ranges = map[string][2]int{
	CheckpointEvery: {1, 100},
	TelemetryEvery:  {0, 1000},
	CommandTTL:      {1, 100},
	EvaluateEvery:   {100, 60_000},
	FanIn:           {1, 32},
}

// Check says what is wrong with a value of a key, if anything is.
func Check(key, value string) error {
	r, ok := ranges[key]
	if !ok {
		return fmt.Errorf("there is no key %q", key)
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < r[0] || n > r[1] {
		return fmt.Errorf("%s is %q; want a whole number from %d to %d", key, value, r[0], r[1])
	}
	return nil
}
