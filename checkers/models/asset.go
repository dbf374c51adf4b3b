package models

// Absent is the state of an asset that is not in the library.
const Absent = "absent"

// Withheld is what a read of a kernel comes to that is given to nobody.
const Withheld = "withheld"

// Asset is one asset of a library: absent, then in a status for good. It is
// stored once, gets its verdict once, and moves between its statuses.
func Asset() Model {
	to := func(state string, legal bool, next string, maybe bool) []string {
		switch {
		case !legal && maybe:
			return []string{state}
		case !legal:
			return nil
		case maybe && next != state:
			return []string{state, next}
		}
		return []string{next}
	}
	return Model{"asset", Absent, func(state string, o op) []string {
		switch o.name {
		case "store":
			return to(state, state == Absent, o.value, o.maybe)
		case "verdict":
			return to(state, state == "PENDING_BENCHMARKING" || state == "BENCHMARKING", o.value, o.maybe)
		case "move":
			return to(state, state != Absent, o.value, o.maybe)
		case "exists":
			return to(state, state != Absent, state, false)
		}
		if o.value == Withheld {
			return to(state, state == "REJECTED" || state == "QUARANTINED", state, false)
		}
		return to(state, state == o.value, state, false)
	}}
}

// AssetChange is a store, verdict or move. With maybe nobody was told what became
// of it.
func AssetChange(name, value string, call, done int64, maybe bool) Operation {
	return Operation{o: op{name: name, value: value, maybe: maybe}, call: call, done: done}
}

// AssetRead is the status that an asset was seen in.
func AssetRead(value string, call, done int64) Operation {
	return Operation{o: op{name: "read", value: value}, call: call, done: done}
}

// AssetExists is the word that an asset is there.
func AssetExists(call, done int64) Operation {
	return Operation{o: op{name: "exists"}, call: call, done: done}
}
