/* The kernels that programs are lowered to. One thread computes one number, or one
 * row where a sum runs over it, and nothing is shared between threads: every sum has
 * the order that the trainer's has on the processor, and so has every bit.
 *
 * This file is CUDA for clang, which makes kernels.ptx of it (make ptx), and C for
 * whatever computes the same on a processor. No operation here may be contracted:
 * both are compiled with -ffp-contract=off.
 *
 * Arguments are pointers first, then counts, of which the first is that of the
 * threads, then factors. kernels.go has the table. In PTX, a name such as add is an
 * instruction's; so all have a prefix there.
 *
 * What a number is not a number for is not promised to have the same bits.
 */
#ifdef __CUDA__
#define KERNEL(name) extern "C" __attribute__((global)) void esper_##name
#define DEVICE static __attribute__((device)) inline
#define THREAD (__nvvm_read_ptx_sreg_ctaid_x() * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x())
#else
#define KERNEL(name) static void esper_##name
#define DEVICE static inline
static unsigned kernels_thread;
#define THREAD kernels_thread
#endif

typedef unsigned int count;

/* begin: the number of the thread, which ends if it is one too many. */
#define BEGIN             \
	const count i = THREAD; \
	if (i >= n)           \
	return

/* y = x·wᵀ + b: each sum from its bias on, from left to right. */
KERNEL(dense)(float *y, const float *x, const float *w, const float *b, count n, count in, count out) {
	BEGIN;
	const float *row = x + (unsigned long long)(i / out) * in;
	const float *weights = w + (unsigned long long)(i % out) * in;
	float sum = b[i % out];
	for (count k = 0; k < in; k++)
		sum = sum + row[k] * weights[k];
	y[i] = sum;
}

/* The gradients of dense: of a weight over the samples, in their order; a sample
 * with no gradient adds nothing, not even a zero. */
KERNEL(dense_back_weights)(float *g, const float *d, const float *x, count n, count in, count out, count batch) {
	BEGIN;
	const count o = i / in, k = i % in;
	float sum = g[i];
	for (count s = 0; s < batch; s++) {
		const float v = d[(unsigned long long)s * out + o];
		if (v != 0)
			sum = sum + v * x[(unsigned long long)s * in + k];
	}
	g[i] = sum;
}

KERNEL(dense_back_bias)(float *g, const float *d, count n, count out, count batch) {
	BEGIN;
	float sum = g[i];
	for (count s = 0; s < batch; s++) {
		const float v = d[(unsigned long long)s * out + i];
		if (v != 0)
			sum = sum + v;
	}
	g[i] = sum;
}

KERNEL(dense_back_input)(float *dx, const float *d, const float *w, count n, count in, count out) {
	BEGIN;
	const count s = i / in, k = i % in;
	float sum = dx[i];
	for (count o = 0; o < out; o++) {
		const float v = d[(unsigned long long)s * out + o];
		if (v != 0)
			sum = sum + v * w[(unsigned long long)o * in + k];
	}
	dx[i] = sum;
}

/* The host network's relu makes 0 of what is not above it. */
KERNEL(relu)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i];
	y[i] = v > 0 ? v : 0;
}

KERNEL(relu_back)(float *dx, const float *d, const float *y, count n) {
	BEGIN;
	if (y[i] > 0)
		dx[i] = dx[i] + d[i];
}

/* A grafted kernel's relu makes 0 of what is below it: −0 stays. */
KERNEL(floor_zero)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i];
	y[i] = v < 0 ? 0 : v;
}

KERNEL(floor_zero_back)(float *d, const float *y, count n) {
	BEGIN;
	if (y[i] <= 0)
		d[i] = 0;
}

/* y = x + alpha·f, and x itself where alpha is 0. */
KERNEL(blend)(float *y, const float *x, const float *f, count n, float alpha) {
	BEGIN;
	y[i] = alpha == 0 ? x[i] : x[i] + alpha * f[i];
}

KERNEL(times)(float *y, const float *x, count n, float factor) {
	BEGIN;
	y[i] = factor * x[i];
}

KERNEL(add)(float *y, const float *x, count n) {
	BEGIN;
	y[i] = y[i] + x[i];
}

KERNEL(copy)(float *y, const float *x, count n) {
	BEGIN;
	y[i] = x[i];
}

KERNEL(fill)(float *y, count n, float value) {
	BEGIN;
	y[i] = value;
}

/* Stochastic gradient descent with momentum; the gradient is used up. */
KERNEL(sgd)(float *p, float *m, float *g, count n, float rate, float momentum) {
	BEGIN;
	const float v = momentum * m[i] + g[i];
	m[i] = v;
	p[i] = p[i] - rate * v;
	g[i] = 0;
}

/* e^x and the natural logarithm, with the trainer's sequences of roundings. */
DEVICE float bits_to_float(unsigned bits) {
	union {
		unsigned u;
		float f;
	} v;
	v.u = bits;
	return v.f;
}

DEVICE unsigned float_to_bits(float f) {
	union {
		unsigned u;
		float f;
	} v;
	v.f = f;
	return v.u;
}

DEVICE float exponential(float x) {
	if (x > 80.0f)
		x = 80.0f;
	if (x < -80.0f)
		x = -80.0f;
	const float t = x * 1.4426950408889634f;
	int k = (int)(t + 0.5f);
	if (t < 0)
		k = (int)(t - 0.5f);
	const float whole = (float)k;
	float r = x - whole * 0.693359375f;
	r = r - whole * -2.12194440e-4f;
	float p = 1.0f / 720.0f;
	p = p * r + 1.0f / 120.0f;
	p = p * r + 1.0f / 24.0f;
	p = p * r + 1.0f / 6.0f;
	p = p * r + 0.5f;
	p = p * r + 1.0f;
	p = p * r + 1.0f;
	return p * bits_to_float((unsigned)(k + 127) << 23);
}

DEVICE float logarithm(float x) {
	if (x < 1e-37f)
		x = 1e-37f;
	const unsigned b = float_to_bits(x);
	int e = (int)(b >> 23) - 127;
	float m = bits_to_float((b & 0x7fffffu) | 127u << 23);
	if (m > 1.41421356f) {
		m = m * 0.5f;
		e++;
	}
	const float s = (m - 1.0f) / (m + 1.0f);
	const float z = s * s;
	float p = 1.0f / 9.0f;
	p = p * z + 1.0f / 7.0f;
	p = p * z + 1.0f / 5.0f;
	p = p * z + 1.0f / 3.0f;
	p = p * z + 1.0f;
	return 2.0f * (s * p) + (float)e * 0.69314718f;
}

/* Softmax and cross-entropy of a sample: the gradient at its logits, its part of the
 * loss, and 1 where the greatest logit is the label's. A label is a whole number in a
 * float. */
KERNEL(score)(float *d, float *loss, float *right, const float *logits, const float *labels, count n, count classes, float scale) {
	BEGIN;
	const float *row = logits + (unsigned long long)i * classes;
	float *g = d + (unsigned long long)i * classes;
	count best = 0;
	for (count c = 1; c < classes; c++)
		if (row[c] > row[best])
			best = c;
	const float top = row[best];
	float sum = 0;
	for (count c = 0; c < classes; c++) {
		g[c] = exponential(row[c] - top);
		sum = sum + g[c];
	}
	const count label = (count)labels[i];
	right[i] = best == label ? 1.0f : 0.0f;
	loss[i] = logarithm(sum) - (row[label] - top);
	for (count c = 0; c < classes; c++)
		g[c] = g[c] / sum * scale;
	g[label] = g[label] - scale;
}

/* out[0] is the scaled sum of the losses, out[1] the number of right answers: by one
 * thread, in the order of the samples. */
KERNEL(total)(float *out, const float *loss, const float *right, count n, count batch, float scale) {
	BEGIN;
	float sum = 0, answers = 0;
	for (count s = 0; s < batch; s++) {
		sum = sum + loss[s];
		answers = answers + right[s];
	}
	out[0] = sum * scale;
	out[1] = answers;
}

/* The other operations of compiled kernels. */
KERNEL(scale_columns)(float *y, const float *x, const float *g, count n, count out) {
	BEGIN;
	y[i] = x[i] * g[i % out];
}

KERNEL(multiply)(float *y, const float *x, const float *z, count n) {
	BEGIN;
	y[i] = x[i] * z[i];
}

KERNEL(reciprocal)(float *y, const float *x, count n) {
	BEGIN;
	y[i] = 1.0f / x[i];
}

KERNEL(leaky)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i];
	y[i] = v < 0 ? v * 0.125f : v;
}

KERNEL(clip)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i];
	y[i] = v < -1 ? -1 : v > 1 ? 1 : v;
}

KERNEL(softsign)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i];
	y[i] = v / (1.0f + (v < 0 ? -v : v));
}

KERNEL(gate)(float *y, const float *x, count n) {
	BEGIN;
	const float v = x[i] * 0.25f + 0.5f;
	y[i] = v < 0 ? 0 : v > 1 ? 1 : v;
}

/* Each row by the root of its mean square; a thread takes a row. */
DEVICE float root(float x) {
#ifdef __CUDA__
	return __nvvm_sqrt_rn_f(x);
#else
	return __builtin_sqrtf(x);
#endif
}

KERNEL(norm)(float *y, const float *x, count n, count in) {
	BEGIN;
	const float *row = x + (unsigned long long)i * in;
	float *to = y + (unsigned long long)i * in;
	float sum = 0;
	for (count k = 0; k < in; k++)
		sum = sum + row[k] * row[k];
	const float r = 1.0f / root(sum / (float)in + 1.0f / 1024.0f);
	for (count k = 0; k < in; k++)
		to[k] = row[k] * r;
}
