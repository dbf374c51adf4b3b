/* A stub of libcuda.so.1: the functions that package cuda calls, for a host with one
 * device, or as many as the script says. Memory is this process's, and a kernel is
 * computed thread by thread, by the source that the PTX is made of. It is written
 * from what the functions are documented to do; see ../../gputest/script.h for what
 * decides the answers.
 */
#include <stdint.h>
#include <unistd.h>

#include "../../gputest/script.h"
#include "../../kernels/kernels.cu"

typedef int result;
typedef uint64_t address;

/* An error that stays until its context ends, and that every call returns. */
static result stub_sticky;

static int stub_stays(result r) { return r == 214 || r == 220 || r == 700 || r == 702 || r == 719; }

#define ANSWER(symbol)                             \
	do {                                           \
		if (stub_sticky)                           \
			return stub_sticky;                    \
		result stub_code = stub_result(#symbol);   \
		if (stub_stays(stub_code))                 \
			stub_sticky = stub_code;               \
		if (stub_code)                             \
			return stub_code;                      \
	} while (0)

enum { invalid_value = 1, out_of_memory = 2, not_initialized = 3, invalid_device = 101, invalid_context = 201, invalid_ptx = 218, not_found = 500, invalid_handle = 400, not_ready = 600 };

static int stub_began;

result cuInit(unsigned flags) {
	ANSWER(cuInit);
	if (flags)
		return invalid_value;
	stub_began = 1;
	return 0;
}

result cuDriverGetVersion(int *version) {
	ANSWER(cuDriverGetVersion);
	*version = (int)stub_number("cuda", 12040);
	return 0;
}

result cuGetErrorName(result r, const char **name) {
	switch (r) {
	case out_of_memory: *name = "CUDA_ERROR_OUT_OF_MEMORY"; return 0;
	case 100: *name = "CUDA_ERROR_NO_DEVICE"; return 0;
	case 719: *name = "CUDA_ERROR_LAUNCH_FAILED"; return 0;
	}
	*name = NULL;
	return invalid_value;
}

static int stub_devices(void) { return (int)stub_number("count", 1); }

result cuDeviceGetCount(int *count) {
	ANSWER(cuDeviceGetCount);
	if (!stub_began)
		return not_initialized;
	*count = stub_devices();
	return 0;
}

result cuDeviceGet(int *device, int ordinal) {
	ANSWER(cuDeviceGet);
	if (ordinal < 0 || ordinal >= stub_devices())
		return invalid_device;
	*device = ordinal;
	return 0;
}

result cuDeviceGetName(char *name, int length, int device) {
	ANSWER(cuDeviceGetName);
	if (device < 0 || device >= stub_devices())
		return invalid_device;
	stub_text("name", name, (size_t)length, "NVIDIA H100 80GB HBM3");
	return 0;
}

result cuDeviceGetUuid(unsigned char uuid[16], int device) {
	ANSWER(cuDeviceGetUuid);
	for (int i = 0; i < 16; i++)
		uuid[i] = (unsigned char)(16 * device + i);
	return 0;
}

result cuDeviceGetPCIBusId(char *id, int length, int device) {
	ANSWER(cuDeviceGetPCIBusId);
	snprintf(id, (size_t)length, "0000:%02x:00.0", 0x18 + device);
	return 0;
}

result cuDeviceTotalMem_v2(size_t *bytes, int device) {
	(void)device;
	ANSWER(cuDeviceTotalMem_v2);
	*bytes = (size_t)stub_number("memory", 85520809984LL);
	return 0;
}

result cuDeviceGetAttribute(int *value, int attribute, int device) {
	(void)device;
	ANSWER(cuDeviceGetAttribute);
	int capability = (int)stub_number("capability", 90);
	switch (attribute) {
	case 75: *value = capability / 10; return 0;
	case 76: *value = capability % 10; return 0;
	}
	return invalid_value;
}

/* Contexts: one at a time, and each thread has to say that it is in it. */
static struct context {
	int alive;
} stub_contexts[64];
static int stub_made;
static __thread struct context *stub_current;
static long long stub_launches; /* in it */

struct block {
	char *bytes;
	size_t size;
};
static struct block stub_blocks[1024];
static size_t stub_taken;

static void stub_forget(void) {
	for (int i = 0; i < 1024; i++) {
		free(stub_blocks[i].bytes);
		stub_blocks[i].bytes = NULL;
	}
	stub_taken = 0;
}

result cuCtxCreate_v2(struct context **made, unsigned flags, int device) {
	(void)flags;
	ANSWER(cuCtxCreate_v2);
	if (device < 0 || device >= stub_devices())
		return invalid_device;
	*made = stub_current = &stub_contexts[stub_made++ % 64];
	stub_current->alive = 1;
	stub_launches = 0;
	return 0;
}

result cuCtxDestroy_v2(struct context *c) {
	stub_sticky = 0; /* it ends with its context */
	ANSWER(cuCtxDestroy_v2);
	if (stub_number("destroy-hangs", 0))
		for (;;)
			pause();
	if (!c || !c->alive)
		return invalid_context;
	c->alive = 0;
	stub_forget();
	return 0;
}

result cuCtxSetCurrent(struct context *c) {
	ANSWER(cuCtxSetCurrent);
	if (!c || !c->alive)
		return invalid_context;
	stub_current = c;
	return 0;
}

#define IN_CONTEXT                                 \
	if (!stub_current || !stub_current->alive)     \
	return invalid_context

result cuMemGetInfo_v2(size_t *left, size_t *total) {
	ANSWER(cuMemGetInfo_v2);
	IN_CONTEXT;
	*total = (size_t)stub_number("memory", 85520809984LL);
	*left = *total - stub_taken;
	return 0;
}

result cuMemAlloc_v2(address *a, size_t size) {
	ANSWER(cuMemAlloc_v2);
	IN_CONTEXT;
	if (size == 0)
		return invalid_value;
	if (size > (size_t)stub_number("memory", 85520809984LL) - stub_taken)
		return out_of_memory;
	for (int i = 0; i < 1024; i++)
		if (!stub_blocks[i].bytes) {
			if (!(stub_blocks[i].bytes = malloc(size)))
				return out_of_memory;
			memset(stub_blocks[i].bytes, 0xff, size); /* no number: memory is not clear */
			stub_blocks[i].size = size;
			stub_taken += size;
			*a = (address)stub_blocks[i].bytes;
			return 0;
		}
	return out_of_memory;
}

/* stub_block finds the block that has all of a range. */
static struct block *stub_block(address a, size_t size) {
	for (int i = 0; i < 1024; i++) {
		struct block *b = &stub_blocks[i];
		if (b->bytes && a >= (address)b->bytes && a + size <= (address)b->bytes + b->size)
			return b;
	}
	return NULL;
}

result cuMemFree_v2(address a) {
	ANSWER(cuMemFree_v2);
	IN_CONTEXT;
	struct block *b = stub_block(a, 1);
	if (!b || a != (address)b->bytes)
		return invalid_value;
	stub_taken -= b->size;
	free(b->bytes);
	b->bytes = NULL;
	return 0;
}

result cuMemcpyHtoD_v2(address to, const void *from, size_t size) {
	ANSWER(cuMemcpyHtoD_v2);
	IN_CONTEXT;
	if (!stub_block(to, size))
		return invalid_value;
	memcpy((void *)to, from, size);
	return 0;
}

result cuMemcpyDtoH_v2(void *to, address from, size_t size) {
	ANSWER(cuMemcpyDtoH_v2);
	IN_CONTEXT;
	if (!stub_block(from, size))
		return invalid_value;
	memcpy(to, (void *)from, size);
	return 0;
}

/* Modules: the text says which kernels there are, this table how they are called. */
static char *stub_code;

result cuModuleLoadData(void **module, const char *text) {
	ANSWER(cuModuleLoadData);
	IN_CONTEXT;
	if (!strstr(text, ".version ") || !strstr(text, ".target ")) /* ended by a NUL */
		return invalid_ptx;
	free(stub_code);
	*module = stub_code = strdup(text);
	return 0;
}

result cuModuleUnload(void *module) {
	ANSWER(cuModuleUnload);
	return module == stub_code ? 0 : invalid_handle;
}

#define P(i) (*(float **)a[i])
#define U(i) (*(count *)a[i])
#define F(i) (*(float *)a[i])
#define ROW(name, threads, ...) \
	static void stub_##name(void **a) { esper_##name(__VA_ARGS__); }
#include "kernels.h"
#undef ROW

static const struct kernel {
	const char *name;
	int threads; /* the argument with their number */
	void (*run)(void **a);
} stub_kernels[] = {
#define ROW(name, threads, ...) {"esper_" #name, threads, stub_##name},
#include "kernels.h"
};

result cuModuleGetFunction(const struct kernel **f, void *module, const char *name) {
	char entry[128];
	ANSWER(cuModuleGetFunction);
	if (module != stub_code)
		return invalid_handle;
	snprintf(entry, sizeof entry, ".entry %s(", name);
	for (size_t i = 0; i < sizeof stub_kernels / sizeof *stub_kernels; i++)
		if (strstr(stub_code, entry) && !strcmp(stub_kernels[i].name, name)) {
			*f = &stub_kernels[i];
			return 0;
		}
	return not_found;
}

result cuLaunchKernel(const struct kernel *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void *stream, void **a, void **extra) {
	ANSWER(cuLaunchKernel);
	IN_CONTEXT;
	if (gy != 1 || gz != 1 || by != 1 || bz != 1 || shared || stream || extra || !gx || !bx || bx > 1024)
		return invalid_value;
	if ((unsigned long long)gx * bx < U(f->threads))
		return invalid_value; /* some would never be computed */
	for (kernels_thread = 0; kernels_thread < gx * bx; kernels_thread++)
		f->run(a);
	if (++stub_launches == stub_number("corrupt-launch", 0))
		*(uint32_t *)P(0) ^= 1u << 7; /* and nothing says so */
	return 0;
}

/* Events: what was launched before them has ended, unless it hangs. */
static int stub_event;

result cuEventCreate(void **e, unsigned flags) {
	(void)flags;
	ANSWER(cuEventCreate);
	IN_CONTEXT;
	*e = &stub_event;
	return 0;
}

result cuEventDestroy_v2(void *e) {
	ANSWER(cuEventDestroy_v2);
	return e == &stub_event ? 0 : invalid_handle;
}

result cuEventRecord(void *e, void *stream) {
	(void)stream;
	ANSWER(cuEventRecord);
	return e == &stub_event ? 0 : invalid_handle;
}

result cuEventQuery(void *e) {
	ANSWER(cuEventQuery);
	if (stub_number("hangs", 0))
		return not_ready;
	return e == &stub_event ? 0 : invalid_handle;
}

result cuEventSynchronize(void *e) {
	ANSWER(cuEventSynchronize);
	return e == &stub_event ? 0 : invalid_handle;
}

result cuEventElapsedTime(float *milliseconds, void *from, void *to) {
	ANSWER(cuEventElapsedTime);
	if (from != &stub_event || to != &stub_event)
		return invalid_handle;
	*milliseconds = (float)stub_number("microseconds", 12) / 1000;
	return 0;
}
