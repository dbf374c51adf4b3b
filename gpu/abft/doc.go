// Package abft finds wrong results of matrix products, and tensors that changed
// where nobody changed them, for less than computing them twice.
//
//   - [Check]: a product's result must have the sums that follow from its inputs
//     (Huang and Abraham, "Algorithm-Based Fault Tolerance for Matrix Operations",
//     IEEE Transactions on Computers C-33, 1984).
//   - [Sum]: a sum over the bits of tensors, which any change of one element changes.
//
// The sums of a product are compared within a bound for its rounding that holds for
// every input, so that a right result is never called wrong. For n terms in a fixed
// order it is
//
//	|fl(Σ xᵢyᵢ) − Σ xᵢyᵢ| ≤ γ Σ|xᵢyᵢ| + n·2⁻¹⁵⁰,  γ = nu/(1−nu),  u = 2⁻²⁴
//
// (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd edition, section 3.1;
// the last term is what products below the normal numbers lose, and additions lose
// nothing there). A row's sum is allowed the sum of its elements' bounds. What is
// changed by less than that is in the noise; what [Sum] watches has no noise.
//
// Sums are in float64, in one order, without fused operations: a verdict is the same
// on every processor. What this loses is in the bound, too.
package abft
