/* A stub of libnvidia-ml.so.1: the symbols that package nvml calls, for a host with
 * one device, or as many as the script says. It is written from what the functions
 * are documented to do; see ../../gputest/script.h for what decides the answers.
 */
#include "script.h"

typedef int result;
typedef struct device *device;

static struct device {
	int index;
} stub_devices[8];

#define ANSWER(symbol)                        \
	do {                                      \
		int code = stub_result(#symbol);      \
		if (code)                             \
			return code;                      \
	} while (0)

result nvmlInit_v2(void) {
	ANSWER(nvmlInit_v2);
	return 0;
}

result nvmlShutdown(void) {
	ANSWER(nvmlShutdown);
	return 0;
}

const char *nvmlErrorString(result code) {
	switch (code) {
	case 3: return "Not Supported";
	case 9: return "Driver Not Loaded";
	case 10: return "Timeout";
	case 15: return "GPU is lost";
	case 16: return "GPU requires reset";
	}
	return "Unknown Error";
}

static result stub_answer(const char *key, const char *otherwise, char *text, unsigned length) {
	char whole[256];
	stub_text(key, whole, sizeof whole, otherwise);
	if (strlen(whole) >= length)
		return 7; /* insufficient size */
	strcpy(text, whole);
	return 0;
}

result nvmlSystemGetDriverVersion(char *version, unsigned length) {
	ANSWER(nvmlSystemGetDriverVersion);
	return stub_answer("driver", "550.54.15", version, length);
}

result nvmlSystemGetCudaDriverVersion_v2(int *version) {
	ANSWER(nvmlSystemGetCudaDriverVersion_v2);
	*version = (int)stub_number("cuda", 12040);
	return 0;
}

result nvmlDeviceGetCount_v2(unsigned *count) {
	ANSWER(nvmlDeviceGetCount_v2);
	*count = (unsigned)stub_number("count", 1);
	return 0;
}

result nvmlDeviceGetHandleByIndex_v2(unsigned index, device *d) {
	ANSWER(nvmlDeviceGetHandleByIndex_v2);
	if (index >= (unsigned)stub_number("count", 1) || index >= 8)
		return 2; /* invalid argument */
	stub_devices[index].index = (int)index;
	*d = &stub_devices[index];
	return 0;
}

result nvmlDeviceGetName(device d, char *name, unsigned length) {
	(void)d;
	ANSWER(nvmlDeviceGetName);
	return stub_answer("name", "NVIDIA H100 80GB HBM3", name, length);
}

result nvmlDeviceGetUUID(device d, char *uuid, unsigned length) {
	char text[64];
	ANSWER(nvmlDeviceGetUUID);
	snprintf(text, sizeof text, "GPU-00000000-0000-0000-0000-%012d", d->index);
	return stub_answer("uuid", text, uuid, length);
}

result nvmlDeviceGetSerial(device d, char *serial, unsigned length) {
	(void)d;
	ANSWER(nvmlDeviceGetSerial);
	return stub_answer("serial", "1650000000000", serial, length);
}

struct pci {
	char legacy[16];
	unsigned domain, bus, device, id, subsystem;
	char bus_id[32];
};

result nvmlDeviceGetPciInfo_v3(device d, struct pci *p) {
	ANSWER(nvmlDeviceGetPciInfo_v3);
	memset(p, 0, sizeof *p);
	p->bus = (unsigned)(0x18 + d->index);
	snprintf(p->bus_id, sizeof p->bus_id, "%08X:%02X:00.0", p->domain, p->bus);
	return 0;
}

struct memory {
	unsigned long long total, free, used;
};

result nvmlDeviceGetMemoryInfo(device d, struct memory *m) {
	(void)d;
	ANSWER(nvmlDeviceGetMemoryInfo);
	m->total = (unsigned long long)stub_number("memory", 85520809984LL);
	m->used = (unsigned long long)stub_number("used", 1073741824LL);
	m->free = m->total - m->used;
	return 0;
}

struct rates {
	unsigned gpu, memory;
};

result nvmlDeviceGetUtilizationRates(device d, struct rates *r) {
	(void)d;
	ANSWER(nvmlDeviceGetUtilizationRates);
	r->gpu = (unsigned)stub_number("utilisation", 37);
	r->memory = 0;
	return 0;
}

result nvmlDeviceGetTemperature(device d, int sensor, unsigned *celsius) {
	(void)d;
	ANSWER(nvmlDeviceGetTemperature);
	if (sensor != 0)
		return 2;
	*celsius = (unsigned)stub_number("temperature", 51);
	return 0;
}

result nvmlDeviceGetPowerUsage(device d, unsigned *milliwatts) {
	(void)d;
	ANSWER(nvmlDeviceGetPowerUsage);
	*milliwatts = (unsigned)stub_number("power", 123456);
	return 0;
}

result nvmlDeviceGetClockInfo(device d, int type, unsigned *mhz) {
	(void)d;
	ANSWER(nvmlDeviceGetClockInfo);
	if (type != 1) /* the multiprocessors' */
		return 2;
	*mhz = (unsigned)stub_number("clock", 1755);
	return 0;
}

result nvmlDeviceGetMaxClockInfo(device d, int type, unsigned *mhz) {
	(void)d;
	ANSWER(nvmlDeviceGetMaxClockInfo);
	if (type != 1)
		return 2;
	*mhz = (unsigned)stub_number("max-clock", 1980);
	return 0;
}

result nvmlDeviceGetCurrentClocksThrottleReasons(device d, unsigned long long *reasons) {
	(void)d;
	ANSWER(nvmlDeviceGetCurrentClocksThrottleReasons);
	*reasons = (unsigned long long)stub_number("throttle", 0);
	return 0;
}

result nvmlDeviceGetTotalEccErrors(device d, int kind, int counter, unsigned long long *count) {
	static const char *const keys[2][2] = {{"ecc-corrected", "ecc-corrected-ever"}, {"ecc-uncorrected", "ecc-uncorrected-ever"}};
	(void)d;
	ANSWER(nvmlDeviceGetTotalEccErrors);
	if (kind < 0 || kind > 1 || counter < 0 || counter > 1)
		return 2;
	*count = (unsigned long long)stub_number(keys[kind][counter], 0);
	return 0;
}

result nvmlDeviceGetRemappedRows(device d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed) {
	(void)d;
	ANSWER(nvmlDeviceGetRemappedRows);
	*corrected = (unsigned)stub_number("remapped-corrected", 0);
	*uncorrected = (unsigned)stub_number("remapped-uncorrected", 0);
	*pending = (unsigned)stub_number("remap-pending", 0);
	*failed = (unsigned)stub_number("remap-failed", 0);
	return 0;
}

/* Events: the script's, each once, to whoever registered for Xids. */
static struct set {
	device registered;
	unsigned long long types;
	int told; /* events of the script so far */
} stub_set;

result nvmlEventSetCreate(struct set **s) {
	ANSWER(nvmlEventSetCreate);
	memset(&stub_set, 0, sizeof stub_set);
	*s = &stub_set;
	return 0;
}

result nvmlEventSetFree(struct set *s) {
	(void)s;
	ANSWER(nvmlEventSetFree);
	return 0;
}

result nvmlDeviceGetSupportedEventTypes(device d, unsigned long long *types) {
	(void)d;
	ANSWER(nvmlDeviceGetSupportedEventTypes);
	*types = (unsigned long long)stub_number("event-types", 8 | 2);
	return 0;
}

result nvmlDeviceRegisterEvents(device d, unsigned long long types, struct set *s) {
	ANSWER(nvmlDeviceRegisterEvents);
	if (types & ~(unsigned long long)stub_number("event-types", 8 | 2))
		return 3;
	s->registered = d;
	s->types |= types;
	return 0;
}

struct event {
	device d;
	unsigned long long type, data;
	unsigned gpu_instance, compute_instance;
};

struct due {
	int skip, seen;
	struct event *e;
};

static int stub_is_due(char *const words[], int count, void *context) {
	struct due *w = context;
	(void)count;
	if (strcmp(words[0], "event") || w->seen++ < w->skip)
		return 0;
	w->e->type = 8;
	w->e->data = (unsigned long long)atoll(words[1]);
	w->skip = -1;
	return 1;
}

result nvmlEventSetWait_v2(struct set *s, struct event *e, unsigned milliseconds) {
	struct due w = {s->told, 0, e};
	(void)milliseconds;
	ANSWER(nvmlEventSetWait_v2);
	memset(e, 0, sizeof *e);
	stub_each(stub_is_due, &w);
	if (w.skip >= 0 || !(s->types & 8)) {
		if (w.seen < s->told)
			s->told = w.seen; /* a new script */
		return 10;
	}
	s->told++;
	e->d = s->registered;
	return 0;
}
