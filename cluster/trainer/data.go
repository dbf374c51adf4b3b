package trainer

// Data is a labelled set of points.
type Data struct {
	Width  int       // numbers a sample
	X      []float32 // samples × Width
	Labels []uint8
}

// Len is the number of samples.
func (d *Data) Len() int { return len(d.Labels) }

// Rings makes n points of two classes in the plane: a disc, and a ring around
// it with a gap between. The two are balanced, and since every half-plane that
// holds most of the disc holds half of the ring, no linear model reaches 70 %.
func Rings(n int, seed uint64) *Data {
	d := &Data{Width: 2}
	for i := uint64(0); len(d.Labels) < n; i++ {
		x := uniform(keyed(seed, 2*i, 1))
		y := uniform(keyed(seed, 2*i+1, 1))
		r := float32(x*x) + float32(y*y)
		want := uint8(len(d.Labels) & 1)
		if want == 0 && r < 0.3 || want == 1 && r > 0.42 && r < 1 {
			d.X = append(d.X, x, y)
			d.Labels = append(d.Labels, want)
		}
	}
	return d
}

// Gather copies the samples with the given indices into x and labels.
func (d *Data) Gather(indices []int32, x []float32, labels []uint8) ([]float32, []uint8) {
	x, labels = x[:0], labels[:0]
	for _, i := range indices {
		x = append(x, d.X[int(i)*d.Width:(int(i)+1)*d.Width]...)
		labels = append(labels, d.Labels[i])
	}
	return x, labels
}
