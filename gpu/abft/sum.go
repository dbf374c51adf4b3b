package abft

import "math"

// Sum is a sum over the bits of tensors, one after the other: Σ (2(i mod 4)+1)·bits(xᵢ)
// modulo 2⁶⁴. Any change of one element changes it, for the odd weights have inverses.
// Of changes of several some cancel: two that are opposite, at places with the same
// weight. Nothing is lost to rounding.
func Sum(tensors ...[]float32) uint64 {
	s := Summing{}
	for _, t := range tensors {
		s.Add(t)
	}
	return s.Sum()
}

// Summing is a Sum that is made tensor by tensor. The zero value is the sum of none.
type Summing struct {
	lanes [4]uint64
	n     int
}

// Add goes on with a tensor.
func (s *Summing) Add(t []float32) {
	for ; len(t) > 0 && s.n%4 != 0; t = t[1:] {
		s.lanes[s.n%4] += uint64(math.Float32bits(t[0]))
		s.n++
	}
	s.n += len(t)
	a, b, c, d := s.lanes[0], s.lanes[1], s.lanes[2], s.lanes[3]
	for ; len(t) >= 16; t = t[16:] {
		q := (*[16]float32)(t)
		a += (uint64(math.Float32bits(q[0])) + uint64(math.Float32bits(q[4]))) + (uint64(math.Float32bits(q[8])) + uint64(math.Float32bits(q[12])))
		b += (uint64(math.Float32bits(q[1])) + uint64(math.Float32bits(q[5]))) + (uint64(math.Float32bits(q[9])) + uint64(math.Float32bits(q[13])))
		c += (uint64(math.Float32bits(q[2])) + uint64(math.Float32bits(q[6]))) + (uint64(math.Float32bits(q[10])) + uint64(math.Float32bits(q[14])))
		d += (uint64(math.Float32bits(q[3])) + uint64(math.Float32bits(q[7]))) + (uint64(math.Float32bits(q[11])) + uint64(math.Float32bits(q[15])))
	}
	for ; len(t) >= 4; t = t[4:] {
		a += uint64(math.Float32bits(t[0]))
		b += uint64(math.Float32bits(t[1]))
		c += uint64(math.Float32bits(t[2]))
		d += uint64(math.Float32bits(t[3]))
	}
	s.lanes = [4]uint64{a, b, c, d}
	for i, v := range t {
		s.lanes[i] += uint64(math.Float32bits(v))
	}
}

// Sum is that of the tensors so far.
func (s *Summing) Sum() uint64 {
	return s.lanes[0] + 3*s.lanes[1] + 5*s.lanes[2] + 7*s.lanes[3]
}

// Moved is what the sum becomes when the i-th number is set from one value to
// another. Whoever sets values keeps the sum by it without reading what he does not
// set, and a change that he did not make shows whenever the tensors are summed next,
// however many updates later.
func Moved(sum uint64, i int, from, to float32) uint64 {
	return sum + (2*uint64(i%4)+1)*(uint64(math.Float32bits(to))-uint64(math.Float32bits(from)))
}

// Equal says whether two tensors have the same bits.
func Equal(a, b []float32) bool {
	if len(a) != len(b) {
		return false
	}
	for ; len(a) >= 4 && len(b) >= 4; a, b = a[4:], b[4:] {
		x, y := (*[4]float32)(a), (*[4]float32)(b)
		if math.Float32bits(x[0]) != math.Float32bits(y[0]) || math.Float32bits(x[1]) != math.Float32bits(y[1]) ||
			math.Float32bits(x[2]) != math.Float32bits(y[2]) || math.Float32bits(x[3]) != math.Float32bits(y[3]) {
			return false
		}
	}
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			return false
		}
	}
	return true
}
