package trainer

import "math"

// exp32 is e^x in float32 arithmetic with a fixed sequence of roundings: range
// reduction by ln 2 in two parts and a polynomial of degree 6. Its relative
// error is below 2⁻²² for |x| < 80; beyond that it saturates.
func exp32(x float32) float32 {
	const (
		invLn2 = 1.4426950408889634
		ln2Hi  = 0.693359375
		ln2Lo  = -2.12194440e-4
	)
	if x > 80 {
		x = 80
	}
	if x < -80 {
		x = -80
	}
	t := float32(x * invLn2)
	k := int32(t + 0.5)
	if t < 0 {
		k = int32(t - 0.5)
	}
	kf := float32(k)
	r := x - float32(kf*ln2Hi)
	r = r - float32(kf*ln2Lo)
	p := float32(1.0 / 720)
	p = float32(p*r) + 1.0/120
	p = float32(p*r) + 1.0/24
	p = float32(p*r) + 1.0/6
	p = float32(p*r) + 0.5
	p = float32(p*r) + 1
	p = float32(p*r) + 1
	return float32(p * math.Float32frombits(uint32(k+127)<<23))
}

// log32 is the natural logarithm of a positive x, by the series of atanh with
// a fixed sequence of roundings.
func log32(x float32) float32 {
	if x < 1e-37 {
		x = 1e-37
	}
	b := math.Float32bits(x)
	e := int32(b>>23) - 127
	m := math.Float32frombits(b&0x7fffff | 127<<23)
	if m > 1.41421356 {
		m = float32(m * 0.5)
		e++
	}
	s := float32((m - 1) / (m + 1))
	z := float32(s * s)
	p := float32(1.0 / 9)
	p = float32(p*z) + 1.0/7
	p = float32(p*z) + 1.0/5
	p = float32(p*z) + 1.0/3
	p = float32(p*z) + 1
	return float32(2*float32(s*p)) + float32(float32(e)*0.69314718)
}

// Exp and Log are e^x and the natural logarithm with the same bits on every
// machine, for what is learned elsewhere than in the host network.
func Exp(x float32) float32 { return exp32(x) }

// Log is described at Exp.
func Log(x float32) float32 { return log32(x) }
