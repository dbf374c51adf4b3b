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

// columns sums the weights of each input.
func (c *Check) columns(w []float32, ni, no int) {
	c.sum = grow(c.sum, ni)
	clear(c.sum)
	addRows(c.sum, w, ni, no)
}

// addRows adds the rows of w to sums. Several of them are read for each time that the
// sums are.
func addRows(sum []float64, w []float32, ni, no int) {
	o := 0
	for ; o+8 <= no; o += 8 {
		a, b, c, d := w[o*ni:(o+1)*ni], w[(o+1)*ni:(o+2)*ni], w[(o+2)*ni:(o+3)*ni], w[(o+3)*ni:(o+4)*ni]
		e, f, g, h := w[(o+4)*ni:(o+5)*ni], w[(o+5)*ni:(o+6)*ni], w[(o+6)*ni:(o+7)*ni], w[(o+7)*ni:(o+8)*ni]
		b, c, d, e, f, g, h, sum := b[:len(a)], c[:len(a)], d[:len(a)], e[:len(a)], f[:len(a)], g[:len(a)], h[:len(a)], sum[:len(a)]
		for k, v := range a {
			sum[k] += ((float64(v) + float64(b[k])) + (float64(c[k]) + float64(d[k]))) + ((float64(e[k]) + float64(f[k])) + (float64(g[k]) + float64(h[k])))
		}
	}
	for ; o+4 <= no; o += 4 {
		p, q := w[o*ni:(o+1)*ni], w[(o+1)*ni:(o+2)*ni]
		r, s := w[(o+2)*ni:(o+3)*ni], w[(o+3)*ni:(o+4)*ni]
		q, r, s, sum := q[:len(p)], r[:len(p)], s[:len(p)], sum[:len(p)]
		for k, v := range p {
			sum[k] += (float64(v) + float64(q[k])) + (float64(r[k]) + float64(s[k]))
		}
	}
	for ; o < no; o++ {
		row := w[o*ni : (o+1)*ni]
		sum := sum[:len(row)]
		for k, v := range row {
			sum[k] += float64(v)
		}
	}
}

// absDot is the product of the absolute values of a row with those of w's rows, summed.
func absDot(row, w []float32, ni, no int) (scale float64) {
	for o := range no {
		for k, v := range w[o*ni : (o+1)*ni] {
			scale += float64(math.Abs(float64(row[k])) * math.Abs(float64(v)))
		}
	}
	return scale
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

// dot is the product of a row with sums.
func dot(row []float32, sum []float64) (want float64) {
	var w float64
	for ; len(row) >= 4 && len(sum) >= 4; row, sum = row[4:], sum[4:] {
		want += float64(float64(row[0])*sum[0]) + float64(float64(row[1])*sum[1])
		w += float64(float64(row[2])*sum[2]) + float64(float64(row[3])*sum[3])
	}
	for k, v := range row {
		want += float64(float64(v) * sum[k])
	}
	return want + w
}

// near says whether a sum of results is as it should be without asking for the scale
// of its terms, which costs more than all the rest: they are at least as great as the
// results that they make. Where it does not say so the bound is to be asked.
func (c *Check) near(got, want, results float64, n int) bool {
	nu := float64(float64(n) * (unit32 / 2))
	if d := got - want; d <= float64(nu*results) && -d <= float64(nu*results) && results < math.MaxFloat32/4 {
		c.Judged++
		return true
	}
	return false
}

// Dense says whether out can be in·wᵀ + b: each row of it has the sum that the
// columns' sums of w give.
func (c *Check) Dense(out, in, w, b []float32, ni, no, batch int) bool {
	c.columns(w, ni, no)
	base, baseAbs := total(b[:no])
	ok := true
	for s := range batch {
		row := in[s*ni : (s+1)*ni]
		want := base + dot(row, c.sum)
		got, results := total(out[s*no : (s+1)*no])
		if !c.near(got, want, results, ni+1) {
			ok = c.compare(got, want, baseAbs+absDot(row, w, ni, no), ni+1, no*(ni+1), ni+no) && ok
		}
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
	addRows(got, gw, ni, no)
	ok := true
	for k := range got {
		ok = c.compare(got[k], want[k], scale[k], batch, batch*no, batch+no) && ok
	}
	return c.compare(plain(gb[:no]), base, baseAbs, batch, batch*no, batch+no) && ok
}

// Before notes the rows of din, to which d·w is going to be added: see Inputs. nil: all
// of it is 0.
func (c *Check) Before(din []float32, ni, batch int) {
	c.was, c.wasAbs = grow(c.was, batch), grow(c.wasAbs, batch)
	if din == nil {
		clear(c.was)
		clear(c.wasAbs)
		return
	}
	for s := range batch {
		c.was[s], c.wasAbs[s] = total(din[s*ni : (s+1)*ni])
	}
}

// Inputs says whether din can be what it was at Before, and d·w more: each row has the
// sum that the sums of w's rows give. Nothing may be asked in between.
func (c *Check) Inputs(din, d, w []float32, ni, no, batch int) bool {
	c.sum = grow(c.sum, no)
	for o := range no {
		c.sum[o] = plain(w[o*ni : (o+1)*ni])
	}
	ok := true
	for s := range batch {
		want := c.was[s] + dot(d[s*no:(s+1)*no], c.sum)
		got, results := total(din[s*ni : (s+1)*ni])
		if c.near(got, want, results, no+1) {
			continue
		}
		scale := c.wasAbs[s]
		for o, v := range d[s*no : (s+1)*no] {
			_, abs := total(w[o*ni : (o+1)*ni])
			scale += float64(math.Abs(float64(v)) * abs)
		}
		ok = c.compare(got, want, scale, no+1, ni*(no+1), ni+no) && ok
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
