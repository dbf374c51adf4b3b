package faults

var clockKinds = []*Kind{
	{Name: "clock-skew", Area: "clock", Shape: OnHosts, Params: []string{"by"}, Needs: []string{"by"}, Class: Survivable,
		Summary: "the wall clock is off by a constant, and right again afterwards",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, h string) error { a.count(true); return w.SkewClock(h, f.By) })
			a.end = func() uint64 {
				for _, h := range f.On {
					_ = w.SkewClock(h, -f.By) // the name was checked when it was skewed
				}
				return 0
			}
			return a, err
		}},
	{Name: "clock-jump", Area: "clock", Shape: OnHosts, Params: []string{"by"}, Needs: []string{"by"}, Class: Survivable, Instant: true,
		Summary: "the wall clock jumps, back where by is negative, and stays there",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			return each(f.On, func(a *Active, h string) error { a.count(true); return w.SkewClock(h, f.By) })
		}},
	{Name: "clock-drift", Area: "clock", Shape: OnHosts, Params: []string{"ppm"}, Needs: []string{"ppm"}, Class: Survivable,
		Summary: "all clocks of the host run too fast, or too slow where ppm is negative",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, h string) error { a.count(true); return w.DriftClock(h, f.PPM) })
			a.end = func() uint64 {
				for _, h := range f.On {
					_ = w.DriftClock(h, 0) // the name was checked when it drifted
				}
				return 0
			}
			return a, err
		}},
}
