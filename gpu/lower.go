package gpu

// A Lowerable program also says how a device computes it: by which kernels, on which
// buffers. What it computes is what Run computes, in each bit.
type Lowerable interface {
	Program
	// Lower is the program for a batch. It is asked at every launch: factors and
	// what stands in Host may differ from the last time, buffers may not.
	Lower(batch int) (Lowering, error)
}

// A Lowering is a list of kernels over buffers, computed in order.
type Lowering struct {
	Buffers []Buffer
	In, Out int // the buffers of Run's arguments
	Steps   []KernelStep
}

// A Buffer is memory of the device for so many numbers.
type Buffer struct {
	Len int
	// Host, if not nil, has Len numbers and is the truth between launches: it is
	// copied to the device before one, and back after it if Written.
	Host    []float32
	Written bool
}

// A KernelStep is one kernel over some of the buffers: as many threads as the first of
// the counts.
type KernelStep struct {
	Kernel  string
	Views   []View
	Counts  []uint32
	Factors []float32
}

// A View is a buffer from a number on.
type View struct{ Buffer, Offset int }
