package mutants

func Table(list []*Mutant, results *Results) ([]byte, error) { return nil, nil }
