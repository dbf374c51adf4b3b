package faults

var networkKinds = []*Kind{
	{Name: "partition", Area: "network", Shape: OnLinks, Class: Survivable,
		Summary: "nothing passes between the two sides; with -> nothing passes from the first to the second",
		inject:  onLinks("cut")},
	{Name: "flap", Area: "network", Shape: OnLinks, Params: []string{"period"}, Needs: []string{"period"}, Class: Survivable,
		Summary: "a partition that comes and goes, half a period each",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a := &Active{fault: f}
			id, cut := 0, false
			var turn func()
			turn = func() {
				if a.ended {
					return
				}
				if cut {
					a.fired += w.RemoveLink(id)
				} else if i, err := w.AddLink("cut", f); err == nil {
					id = i
				}
				cut = !cut
				w.After(max(f.Period/2, 1), turn)
			}
			turn()
			a.end = func() uint64 {
				if cut {
					return w.RemoveLink(id)
				}
				return 0
			}
			return a, nil
		}},
	{Name: "drop", Area: "network", Shape: OnLinks, Params: []string{"rate", "type", "count"}, Class: Survivable,
		Summary: "messages vanish", inject: onLinks("drop")},
	{Name: "delay", Area: "network", Shape: OnLinks, Params: []string{"delay", "rate", "type", "count"}, Needs: []string{"delay"}, Class: Survivable,
		Summary: "messages take up to delay longer, and those behind them wait", inject: onLinks("delay")},
	{Name: "reorder", Area: "network", Shape: OnLinks, Params: []string{"delay", "rate", "type", "count"}, Needs: []string{"delay"}, Class: Survivable,
		Summary: "messages take up to delay longer, and others overtake them", inject: onLinks("reorder")},
	{Name: "duplicate", Area: "network", Shape: OnLinks, Params: []string{"delay", "rate", "type", "count"}, Needs: []string{"delay"}, Class: Survivable,
		Summary: "messages arrive a second time, up to delay later", inject: onLinks("duplicate")},
	{Name: "corrupt", Area: "network", Shape: OnLinks, Params: []string{"rate", "type", "count"}, Class: Survivable,
		Summary: "one bit of the encoded message is flipped", inject: onLinks("corrupt")},
}

func onLinks(effect string) func(*Kind, Fault, World) (*Active, error) {
	return func(_ *Kind, f Fault, w World) (*Active, error) {
		id, err := w.AddLink(effect, f)
		if err != nil {
			return nil, err
		}
		return &Active{fault: f, end: func() uint64 { return w.RemoveLink(id) }}, nil
	}
}
