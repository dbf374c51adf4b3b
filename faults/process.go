package faults

import "time"

// defaultRestart is how long a process is down when a plan says nothing.
const defaultRestart = 200 * time.Millisecond

func (f Fault) restart() time.Duration {
	if f.Restart == 0 {
		return defaultRestart
	}
	return f.Restart
}

var processKinds = []*Kind{
	{Name: "crash", Area: "process", Shape: OnNodes, Params: []string{"restart"}, Class: Survivable, Instant: true,
		Summary: "the process dies; its host's page cache lives on",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			return each(f.On, func(a *Active, n string) error {
				hit, err := w.CrashNode(n, f.restart())
				a.count(hit)
				return err
			})
		}},
	{Name: "crash-host", Area: "process", Shape: OnHosts, Params: []string{"restart"}, Class: Survivable, Instant: true,
		Summary: "the host loses power: its processes die, and its disk keeps what was durable",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			return each(f.On, func(a *Active, h string) error {
				hit, err := w.CrashHost(h, f.restart())
				a.count(hit)
				return err
			})
		}},
	{Name: "crash-rack", Area: "process", Shape: OnRacks, Params: []string{"restart"}, Class: Survivable, Instant: true,
		Summary: "every host of the rack loses power at once",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			return each(f.On, func(a *Active, r string) error {
				for _, h := range w.HostsOf(r) {
					hit, err := w.CrashHost(h, f.restart())
					a.count(hit)
					if err != nil {
						return err
					}
				}
				return nil
			})
		}},
	{Name: "crash-at-op", Area: "process", Shape: OnNodes, Params: []string{"op", "restart"}, Needs: []string{"op"}, Class: Survivable, Instant: true,
		Summary: "the process dies just before its op-th I/O operation from now",
		inject:  atOperation(false)},
	{Name: "power-at-op", Area: "process", Shape: OnNodes, Params: []string{"op", "restart"}, Needs: []string{"op"}, Class: Survivable, Instant: true,
		Summary: "the host loses power just before the process's op-th I/O operation from now",
		inject:  atOperation(true)},
	{Name: "crash-at-send", Area: "process", Shape: OnNodes, Params: []string{"op", "type", "restart"}, Needs: []string{"op"}, Class: Survivable, Instant: true,
		Summary: "the process dies just after it has sent its op-th message of the type from now",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			return each(f.On, func(a *Active, n string) error {
				return w.CrashAtSend(n, f.Op, f.Type, f.restart(), func() { a.count(true) })
			})
		}},
	{Name: "crash-loop", Area: "process", Shape: OnNodes, Params: []string{"period", "restart"}, Needs: []string{"period"}, Class: Survivable,
		Summary: "the process dies again and again, a period after each start",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a := &Active{fault: f}
			var again func()
			again = func() {
				if a.ended {
					return
				}
				for _, n := range f.On {
					if hit, err := w.CrashNode(n, f.restart()); err == nil {
						a.count(hit)
					}
				}
				w.After(f.restart()+f.Period, again)
			}
			again()
			return a, nil
		}},
	{Name: "upgrade", Area: "process", Shape: OnNodes, Params: []string{"schema", "restart"}, Needs: []string{"schema"}, Class: Survivable, Optional: true,
		Summary: "the process is replaced by one that speaks another version of the contracts; with a duration, until then",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, n string) error {
				a.count(true)
				return w.UpgradeNode(n, f.Schema, f.restart(), f.hold > 0)
			})
			if f.hold > 0 {
				a.end = func() uint64 {
					for _, n := range f.On {
						_ = w.RevertNode(n, f.restart()) // the name was checked by UpgradeNode
					}
					return 0
				}
			}
			return a, err
		}},
	{Name: "down", Area: "process", Shape: OnNodes, Class: Survivable,
		Summary: "the process is dead for as long as the fault lasts",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, n string) error {
				hit, err := w.CrashNode(n, Never)
				a.count(hit)
				return err
			})
			a.end = func() uint64 {
				for _, n := range f.On {
					_ = w.StartNode(n) // the name was checked when it went down
				}
				return 0
			}
			return a, err
		}},
	{Name: "pause", Area: "process", Shape: OnNodes, Class: Survivable,
		Summary: "the process takes no step, as in a long stop of the world; time goes on",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, n string) error {
				a.count(w.Up(n))
				return w.PauseNode(n)
			})
			a.end = func() uint64 {
				for _, n := range f.On {
					_ = w.ResumeNode(n) // the name was checked by PauseNode
				}
				return 0
			}
			return a, err
		}},
	{Name: "slow", Area: "process", Shape: OnNodes, Params: []string{"factor"}, Needs: []string{"factor"}, Class: Survivable,
		Summary: "work and file operations of the process take factor times as long",
		inject: func(_ *Kind, f Fault, w World) (*Active, error) {
			a, err := each(f.On, func(a *Active, n string) error {
				a.count(w.Up(n))
				return w.SlowNode(n, f.Factor)
			})
			a.end = func() uint64 {
				for _, n := range f.On {
					_ = w.SlowNode(n, 1) // the name was checked when it slowed down
				}
				return 0
			}
			return a, err
		}},
}

func atOperation(host bool) func(*Kind, Fault, World) (*Active, error) {
	return func(_ *Kind, f Fault, w World) (*Active, error) {
		return each(f.On, func(a *Active, n string) error {
			return w.CrashAtOperation(n, f.Op, host, f.restart(), func() { a.count(true) })
		})
	}
}

// each applies a fault to its targets one by one.
func each(targets []string, do func(a *Active, target string) error) (*Active, error) {
	a := &Active{}
	for _, t := range targets {
		if err := do(a, t); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a *Active) count(hit bool) {
	if hit {
		a.fired++
	}
}
