package faults

// kernelKinds are faults of grafted kernels and of what trains with them: at the
// device, in a kernel's computation, and in the optimizer. Each turns a site on,
// in the simulated accelerator or where the code that must notice stands.
var kernelKinds = []*Kind{
	siteKind("kernel/throws", "throws", "kernel", "a kernel of the node's fails while it runs"),
	siteKind("kernel/gradient-leak", "gradient-leak", "kernel", "a kernel's input is not detached: its gradients reach into the host network"),
	siteKind("training/foreign-rate", "foreign-rate", "training", "something else than the learning-rate controller writes a rate into the optimizer"),
}

// siteKind turns a Probe.Sometimes site of a node on.
func siteKind(name, site, area, summary string) *Kind {
	return &Kind{Name: name, Area: area, Shape: OnNodes, Class: Survivable, Summary: summary, Params: []string{"rate"},
		inject: func(_ *Kind, f Fault, w World) (*Active, error) { return injectSite(f, w, site) }}
}
