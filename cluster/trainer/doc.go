// Package trainer is the training job that the simulated cluster really does:
// a small network that learns, in float32, with one fixed order of every sum,
// so that its bytes are the same on every machine.
//
//   - [ParseGraph], [InjectGrafts]: a layer graph read from a file, and the
//     places where kernels may be grafted into it.
//   - [Model], [Pass]: parameters and one minibatch through the network,
//     forward, backward and the optimizer's step. A pass stops at each graft
//     layer and goes on with what the layer makes of the activations.
//   - [Kernel]: a residual block that is blended in by alpha.
//   - [Data], [Order]: a two-class problem that no linear model solves, and the
//     order of its samples, keyed by epoch and rollback generation.
//
// Go may fuse x*y + z into one rounding on some processors; an explicit
// conversion, float32(x*y) + z, forbids it, and every such expression here has
// one. Exponentials are the package's own, for the same reason.
package trainer
