// Package kernel is the compiler of the innovation plane: it turns the graph of
// a blueprint into a binary, and a binary into a block that the trainer runs.
//
//   - [Compile]: a BlueprintIR for a pipeline, a hardware and a toolchain. The
//     same four give the same bytes. It refuses a graph that does not fit
//     together, and says which node.
//   - [Decode], [Program.Encode]: the binary format below. An error names the
//     offset. What decodes encodes to the same bytes.
//   - [Program.Block], [Load]: what runs. A block is a function of its input and
//     its parameters: float32, one order of every sum, no fused roundings.
//   - [Program.Footprint]: what a run needs of a device.
//
// # The graph
//
// A graph has one node "input" and one node "output" of the same width; its
// edges have no cycle, and every node lies on a way from the one to the other.
// What reaches the output is added to the host's activations, times alpha: an
// identity at alpha 0 whatever the graph.
//
//	op        inputs  what it computes of x, element by element unless said
//	input     0       the activations
//	output    1       x
//	dense     1       W·x + b; widths may differ; learned
//	scale     1       g·x with a gain g for each feature; learned, from "gain"
//	norm      1       x / sqrt(mean(x²) + 1/1024), over the features
//	gain      1       x times the constant "gain"
//	recip     1       1 / x
//	relu      1       x where positive, else 0
//	leaky     1       x where positive, else x/8
//	clip      1       x between −1 and 1
//	softsign  1       x / (1 + |x|)
//	gate      1       x/4 + 1/2 between 0 and 1
//	add       2..8    the sum, in the order of the ports
//	mul       2       the product
//	retain    1       x; keeps "bytes" of the device when it is unloaded
//
// recip and retain are what a bad design is made of: no sound one needs them.
//
// # Pipelines
//
// emergency and fast translate node by node; standard computes an activation in
// the same pass as the dense layer before it; aggressive does so after every
// operation. A fused program has fewer passes over memory, and computes the same
// in every bit: no pipeline changes the order of a sum.
//
// # The binary
//
// Little-endian. Offsets after the names are relative to their end.
//
//	offset  bytes  field
//	0       8      magic "ESPKERN" and 0x01
//	8       2      format version, 1
//	10      1      pipeline: 1 emergency, 2 fast, 3 standard, 4 aggressive
//	11      1      0
//	12      4      width of input and output
//	16      4      instructions
//	20      4      parameters
//	24      8      seed of the initial parameters
//	32      32     SHA-256 of the canonical BlueprintIR
//	64      1+n    hardware: length, bytes
//	…       1+n    toolchain: length, bytes
//	…       20·k   instructions:
//	  +0    1        operation
//	  +1    1        fused activation, 0: none
//	  +2    1        inputs, 1 to 8
//	  +3    1        0
//	  +4    4        width of its result
//	  +8    4        where its parameters begin
//	  +12   4        constant: bits of a float32, or bytes retained
//	  +16   4        where its inputs begin, in the list that follows
//	…       2·m    inputs of all instructions: the number of an earlier one plus
//	               1, or 0 for the activations
//	…       4      CRC-32C of everything before
//
// The last instruction's result is the output. Initial parameters are drawn from
// the seed, which is the beginning of the IR's digest: they are the same in
// every pipeline.
package kernel
