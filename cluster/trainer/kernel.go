package trainer

import (
	"fmt"
	"math"

	"github.com/esper-sim/espersim/gpu/abft"
)

// Kernel is a residual block: with blending factor alpha it makes of x
//
//	x + alpha · (W2·relu(W1·x + b1) + b2)
//
// so that alpha 0 is the identity, bit for bit. A [Block] may stand in the place
// of the two layers.
type Kernel struct {
	ID       string
	Width    int
	Hidden   int
	Params   []float32 // W1, b1, W2, b2, or the block's
	Momentum []float32
	Binary   []byte // that its block was loaded from; nil: it has none

	block Block
	watch *abft.Check // of the products; nil: nobody looks
	grads []float32
	held  bool // a forward pass is kept for Backward
	dirty bool // there are gradients
	sent  sent
	batch int
	alpha float32
	x     []float32
	h     []float32 // relu(W1·x + b1)
	f     []float32 // W2·h + b2
	dh    []float32
	df    []float32
}

// NewKernel makes a kernel of the given widths. Its parameters are keyed by
// its id: a kernel's bytes are decided by its name.
func NewKernel(id string, width, hidden int) (*Kernel, error) {
	if width < 1 || width > maxWidth || hidden < 1 || hidden > maxWidth {
		return nil, fmt.Errorf("kernel %s has width %d and %d hidden units; want 1 to %d", id, width, hidden, maxWidth)
	}
	n := hidden*(width+1) + width*(hidden+1)
	k := &Kernel{ID: id, Width: width, Hidden: hidden,
		Params: make([]float32, n), Momentum: make([]float32, n), grads: make([]float32, n)}
	seed := hashString(id)
	draw(k.Params[:hidden*width], keyed(seed, 1, 4), width)
	w2 := hidden * (width + 1)
	draw(k.Params[w2:w2+width*hidden], keyed(seed, 2, 4), hidden)
	return k, nil
}

// Block is a function that a kernel may add to its input in the place of its own:
//
//	x + alpha · f(x)
//
// It computes in float32 with one order of every sum, and its results are a
// function of input and parameters.
type Block interface {
	// Width is how many numbers a sample has, before and after.
	Width() int
	// Params is how many parameters there are, and Init sets them.
	Params() int
	Init(params []float32)
	// Forward writes the result for the rows of x into f, and keeps what Backward
	// needs until the next Forward.
	Forward(f, x, params []float32, batch int)
	// Backward adds the gradients for the gradient df at the result of the last
	// Forward. The gradient at x is nobody's: x is detached.
	Backward(df, params, grads []float32, batch int)
}

// NewBlockKernel makes a kernel of a block, with its initial parameters, for a
// layer of a width. binary is what the block was loaded from.
func NewBlockKernel(id string, width int, b Block, binary []byte) (*Kernel, error) {
	if b.Width() != width {
		return nil, fmt.Errorf("kernel %s has width %d; the layer has %d", id, b.Width(), width)
	}
	n := b.Params()
	k := &Kernel{ID: id, Width: width, Params: make([]float32, n), Momentum: make([]float32, n), grads: make([]float32, n), block: b, Binary: binary}
	b.Init(k.Params)
	return k, nil
}

// Draw sets w to values of variance 2/fan, keyed by a seed and a stream.
func Draw(w []float32, seed, stream uint64, fan int) { draw(w, keyed(seed, stream, 5), fan) }

func (k *Kernel) split(p []float32) (w1, b1, w2, b2 []float32) {
	a := k.Hidden * k.Width
	b := a + k.Hidden
	c := b + k.Width*k.Hidden
	return p[:a], p[a:b], p[b:c], p[c:]
}

func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return make([]float32, n)
	}
	return s[:n]
}

// Forward writes the blended output for the batch rows of x into y. With keep,
// what Backward and Reconstruct need is held until the next Forward.
func (k *Kernel) Forward(y, x []float32, alpha float32, keep bool) {
	batch := len(x) / k.Width
	k.f = grow(k.f, batch*k.Width)
	if k.block != nil {
		k.block.Forward(k.f, x, k.Params, batch)
	} else {
		k.residual(x, batch)
	}
	if keep {
		k.held, k.batch, k.alpha = true, batch, alpha
		k.x = append(k.x[:0], x...)
	}
	if alpha == 0 {
		copy(y, x) // not x + 0·f: that turns −0 into +0, and an infinite f into NaN
		return
	}
	for i, v := range x {
		y[i] = v + float32(alpha*k.f[i])
	}
}

// residual computes the kernel's own block.
func (k *Kernel) residual(x []float32, batch int) {
	k.h = grow(k.h, batch*k.Hidden)
	w1, b1, w2, b2 := k.split(k.Params)
	dense(k.h, x, w1, b1, k.Width, k.Hidden, batch)
	if k.watch != nil {
		k.watch.Dense(k.h, x, w1, b1, k.Width, k.Hidden, batch)
	}
	for i, v := range k.h {
		if v < 0 {
			k.h[i] = 0
		}
	}
	dense(k.f, k.h, w2, b2, k.Hidden, k.Width, batch)
	if k.watch != nil {
		k.watch.Dense(k.f, k.h, w2, b2, k.Hidden, k.Width, batch)
	}
}

// Backward adds the gradients for the loss gradient dy at the output of the
// kept forward pass. The gradient at the input is dy itself: x is detached.
func (k *Kernel) Backward(dy []float32) error {
	if !k.held || len(dy) != k.batch*k.Width {
		return fmt.Errorf("kernel %s: backward of %d numbers without their forward pass", k.ID, len(dy))
	}
	k.df = grow(k.df, len(dy))
	for i, v := range dy {
		k.df[i] = float32(k.alpha * v)
	}
	k.back()
	return nil
}

// Reconstruct adds the gradients of the mean squared difference between the
// block's own output and its input, for the kept forward pass: the
// self-supervised task of the TRAINING stage. It returns that loss.
func (k *Kernel) Reconstruct() (float32, error) {
	if !k.held {
		return 0, fmt.Errorf("kernel %s: reconstruction without a forward pass", k.ID)
	}
	k.df = grow(k.df, k.batch*k.Width)
	scale := float32(1) / float32(k.batch*k.Width)
	var loss float32
	for i, f := range k.f {
		d := f - k.x[i]
		loss += float32(d * d)
		k.df[i] = float32(float32(2*d) * scale)
	}
	k.back()
	return float32(loss * scale), nil
}

func (k *Kernel) back() {
	k.held = false
	if k.dirty && k.watch != nil {
		// The sums are those of one pass: what there is already is not in them.
		defer k.Watch(k.watch)
		k.Watch(nil)
	}
	k.dirty = true
	if k.block != nil {
		k.block.Backward(k.df, k.Params, k.grads, k.batch)
		return
	}
	w1, _, w2, _ := k.split(k.Params)
	g1, gb1, g2, gb2 := k.split(k.grads)
	k.dh = grow(k.dh, k.batch*k.Hidden)
	clear(k.dh)
	if k.watch != nil {
		k.watch.Before(nil, k.Hidden, k.batch)
	}
	denseBack(k.dh, g2, gb2, k.df, k.h, w2, k.Hidden, k.Width, k.batch)
	if k.watch != nil {
		k.watch.Inputs(k.dh, k.df, w2, k.Hidden, k.Width, k.batch)
		k.watch.Gradients(g2, gb2, k.df, k.h, k.Hidden, k.Width, k.batch)
	}
	for i, v := range k.h {
		if v <= 0 {
			k.dh[i] = 0
		}
	}
	denseBack(nil, g1, gb1, k.dh, k.x, w1, k.Width, k.Hidden, k.batch)
	if k.watch != nil {
		k.watch.Gradients(g1, gb1, k.dh, k.x, k.Width, k.Hidden, k.batch)
	}
}

// GradientNorm is the Euclidean norm of the gradients that are held.
func (k *Kernel) GradientNorm() float64 {
	sum := 0.0
	for _, g := range k.grads {
		sum += float64(float64(g) * float64(g))
	}
	return math.Sqrt(sum)
}

// Step applies the gradients with momentum and clears them.
func (k *Kernel) Step(rate float32) {
	sgd(k.Params, k.Momentum, k.grads, rate)
	k.dirty, k.sent.valid = false, false
}

// Drop clears the gradients without applying them.
func (k *Kernel) Drop() {
	clear(k.grads)
	k.held, k.dirty = false, false
}

// Load replaces parameters and momentum. The lengths must be the kernel's.
func (k *Kernel) Load(params, momentum []float32) error {
	if len(params) != len(k.Params) || len(momentum) != len(k.Momentum) {
		return fmt.Errorf("state has %d parameters and %d momenta; kernel %s has %d", len(params), len(momentum), k.ID, len(k.Params))
	}
	copy(k.Params, params)
	copy(k.Momentum, momentum)
	k.sent.valid = false
	k.Drop()
	return nil
}
