package abft

import "math"

// Check compares products with their sums. It keeps its buffers, and counts. The zero
// value is ready.
//
// Matrices are row by row. w has no rows of ni weights, b has no biases; in has batch
// rows of ni, out and d have batch rows of no.
type Check struct {
	Judged   uint64 // sums that were compared
	Wrong    uint64 // those that differ by more than rounding explains
	Unjudged uint64 // those that may overflow, of which nothing follows

	sum, abs []float64 // of the weights' columns, or of d's rows
	was      []float64 // sums of rows before
	wasAbs   []float64
}

const (
	unit32 = 1.0 / (1 << 24) // rounding of float32
	unit64 = 1.0 / (1 << 53)
	lost   = 1.0 / (1 << 75) / (1 << 75) // of a product below the normal numbers: 2⁻¹⁵⁰
)

// bound is how far a sum of results may be off, each of them of n terms. scale is the
// sum of the terms' absolute values, count how many terms there are in all, and
// extra how many additions were made in float64 for one sum.
func bound(n int, scale float64, count, extra int) float64 {
	nu := float64(float64(n) * unit32)
	rel := float64(nu/(1-nu)) + float64(float64(8*(extra+8))*unit64)
	return float64(rel*scale) + float64(float64(count)*(2*lost))
}

// compare judges one sum.
func (c *Check) compare(got, want, scale float64, n, count, extra int) bool {
	if !(scale < math.MaxFloat32/4) {
		c.Unjudged++ // an overflow may be right
		return true
	}
	c.Judged++
	if d := got - want; d <= bound(n, scale, count, extra) && -d <= bound(n, scale, count, extra) {
		return true
	}
	c.Wrong++ // also of what is no number
	return false
}

func grow(s []float64, n int) []float64 {
	if cap(s) < n {
		return make([]float64, n)
	}
	return s[:n]
}

// columns sums the weights of each input, and their absolute values.
func (c *Check) columns(w []float32, ni, no int) {
	c.sum, c.abs = grow(c.sum, ni), grow(c.abs, ni)
	sum, abs := c.sum[:ni], c.abs[:ni]
	clear(sum)
	clear(abs)
	o := 0
	for ; o+4 <= no; o += 4 { // four rows for each time that the sums are read and written
		p, q := w[o*ni:(o+1)*ni], w[(o+1)*ni:(o+2)*ni]
		r, s := w[(o+2)*ni:(o+3)*ni], w[(o+3)*ni:(o+4)*ni]
		q, r, s, sum, abs := q[:len(p)], r[:len(p)], s[:len(p)], sum[:len(p)], abs[:len(p)]
		for k, v := range p {
			a, b, c, d := float64(v), float64(q[k]), float64(r[k]), float64(s[k])
			sum[k] += (a + b) + (c + d)
			abs[k] += (math.Abs(a) + math.Abs(b)) + (math.Abs(c) + math.Abs(d))
		}
	}
	for ; o < no; o++ {
		row := w[o*ni : (o+1)*ni]
		sum, abs := sum[:len(row)], abs[:len(row)]
		for k, v := range row {
			x := float64(v)
			sum[k] += x
			abs[k] += math.Abs(x)
		}
	}
}

// total is the sum of a list, and of its absolute values.
func total(list []float32) (sum, abs float64) {
	for ; len(list) >= 8; list = list[8:] { // few additions that wait for the one before
		a, b, c, d := float64(list[0]), float64(list[1]), float64(list[2]), float64(list[3])
		e, f, g, h := float64(list[4]), float64(list[5]), float64(list[6]), float64(list[7])
		sum += ((a + b) + (c + d)) + ((e + f) + (g + h))
		abs += ((math.Abs(a) + math.Abs(b)) + (math.Abs(c) + math.Abs(d))) + ((math.Abs(e) + math.Abs(f)) + (math.Abs(g) + math.Abs(h)))
	}
	for _, v := range list {
		x := float64(v)
		sum += x
		abs += math.Abs(x)
	}
	return sum, abs
}

// plain is the sum of a list.
func plain(list []float32) (sum float64) {
	var a, b, c, d float64
	for ; len(list) >= 4; list = list[4:] {
		a += float64(list[0])
		b += float64(list[1])
		c += float64(list[2])
		d += float64(list[3])
	}
	for _, v := range list {
		a += float64(v)
	}
	return (a + b) + (c + d)
}

// dot is the product of a row with sums, and that of the absolute values.
func dot(row []float32, sum, abs []float64) (want, scale float64) {
	var w, s float64
	for ; len(row) >= 4 && len(sum) >= 4 && len(abs) >= 4; row, sum, abs = row[4:], sum[4:], abs[4:] {
		a, b, c, d := float64(row[0]), float64(row[1]), float64(row[2]), float64(row[3])
		want += float64(a*sum[0]) + float64(b*sum[1])
		w += float64(c*sum[2]) + float64(d*sum[3])
		scale += float64(math.Abs(a)*abs[0]) + float64(math.Abs(b)*abs[1])
		s += float64(math.Abs(c)*abs[2]) + float64(math.Abs(d)*abs[3])
	}
	for k, v := range row {
		x := float64(v)
		want += float64(x * sum[k])
		scale += float64(math.Abs(x) * abs[k])
	}
	return want + w, scale + s
}

// Dense says whether out can be in·wᵀ + b: each row of it has the sum that the
// columns' sums of w give.
func (c *Check) Dense(out, in, w, b []float32, ni, no, batch int) bool {
	c.columns(w, ni, no)
	base, baseAbs := total(b[:no])
	ok := true
	for s := range batch {
		want, scale := dot(in[s*ni:(s+1)*ni], c.sum, c.abs)
		ok = c.compare(plain(out[s*no:(s+1)*no]), want+base, scale+baseAbs, ni+1, no*(ni+1), ni+no) && ok
	}
	return ok
}

// Gradients says whether gw and gb can be the gradients dᵀ·in of the weights and
// those of the biases, both of which were 0 before: each column of gw has the sum
// that the sums of d's rows give.
func (c *Check) Gradients(gw, gb, d, in []float32, ni, no, batch int) bool {
	c.sum, c.abs = grow(c.sum, ni), grow(c.abs, ni)
	want, scale := c.sum[:ni], c.abs[:ni]
	clear(want)
	clear(scale)
	var base, baseAbs float64
	s := 0
	for ; s+2 <= batch; s += 2 {
		sum, abs := total(d[s*no : (s+1)*no])
		sum2, abs2 := total(d[(s+1)*no : (s+2)*no])
		base += sum + sum2
		baseAbs += abs + abs2
		row, row2 := in[s*ni:(s+1)*ni], in[(s+1)*ni:(s+2)*ni]
		row2, want, scale := row2[:len(row)], want[:len(row)], scale[:len(row)]
		for k, v := range row {
			x, y := float64(v), float64(row2[k])
			want[k] += float64(sum*x) + float64(sum2*y)
			scale[k] += float64(abs*math.Abs(x)) + float64(abs2*math.Abs(y))
		}
	}
	for ; s < batch; s++ {
		sum, abs := total(d[s*no : (s+1)*no])
		base += sum
		baseAbs += abs
		row := in[s*ni : (s+1)*ni]
		want, scale := want[:len(row)], scale[:len(row)]
		for k, v := range row {
			x := float64(v)
			want[k] += float64(sum * x)
			scale[k] += float64(abs * math.Abs(x))
		}
	}
	c.was = grow(c.was, ni)
	got := c.was[:ni]
	clear(got)
	o := 0
	for ; o+4 <= no; o += 4 {
		p, q := gw[o*ni:(o+1)*ni], gw[(o+1)*ni:(o+2)*ni]
		r, s := gw[(o+2)*ni:(o+3)*ni], gw[(o+3)*ni:(o+4)*ni]
		q, r, s, got := q[:len(p)], r[:len(p)], s[:len(p)], got[:len(p)]
		for k, v := range p {
			got[k] += (float64(v) + float64(q[k])) + (float64(r[k]) + float64(s[k]))
		}
	}
	for ; o < no; o++ {
		row := gw[o*ni : (o+1)*ni]
		got := got[:len(row)]
		for k, v := range row {
			got[k] += float64(v)
		}
	}
	ok := true
	for k := range got {
		ok = c.compare(got[k], want[k], scale[k], batch, batch*no, batch+no) && ok
	}
	return c.compare(plain(gb[:no]), base, baseAbs, batch, batch*no, batch+no) && ok
}

// Before notes the rows of din, to which d·w is going to be added: see Inputs.
func (c *Check) Before(din []float32, ni, batch int) {
	c.was, c.wasAbs = grow(c.was, batch), grow(c.wasAbs, batch)
	for s := range batch {
		c.was[s], c.wasAbs[s] = total(din[s*ni : (s+1)*ni])
	}
}

// Inputs says whether din can be what it was at Before, and d·w more: each row has the
// sum that the sums of w's rows give. Nothing may be asked in between.
func (c *Check) Inputs(din, d, w []float32, ni, no, batch int) bool {
	c.sum, c.abs = grow(c.sum, no), grow(c.abs, no)
	for o := range no {
		c.sum[o], c.abs[o] = total(w[o*ni : (o+1)*ni])
	}
	ok := true
	for s := range batch {
		want, scale := dot(d[s*no:(s+1)*no], c.sum[:no], c.abs[:no])
		ok = c.compare(plain(din[s*ni:(s+1)*ni]), c.was[s]+want, c.wasAbs[s]+scale, no+1, ni*(no+1), ni+no) && ok
	}
	return ok
}

// An Update is what a step of SGD with momentum starts from, as sums:
//
//	m ← μm + g,  p ← p − rate·m
type Update struct{ p, m, g, absP, absM, absG float64 }

// Start sums what an update starts from.
func Start(p, m, g []float32) Update {
	var u Update
	u.p, u.absP = total(p)
	u.m, u.absM = total(m)
	u.g, u.absG = total(g)
	return u
}

// Update says whether p and m can be what the update has made of what it started
// from.
func (c *Check) Update(u Update, p, m []float32, mu, rate float32) bool {
	n := len(p)
	mu64, rate64 := float64(mu), float64(rate)
	scale := float64(mu64*u.absM) + u.absG
	moved, movedAbs := total(m)
	ok := c.compare(moved, float64(mu64*u.m)+u.g, scale, 2, 2*n, n)
	return c.compare(plain(p), u.p-float64(rate64*moved), u.absP+float64(math.Abs(rate64)*movedAbs), 2, 2*n, n) && ok
}
