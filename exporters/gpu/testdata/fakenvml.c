/*
 * A stand-in for libnvidia-ml.so, compiled by the tests against NVIDIA's own
 * header. What it answers is in the text file that the environment variable
 * FAKE_NVML names, one fact a line, read anew at every call:
 *
 *   count N             GPUs that there are (1)
 *   driver V            version of the loaded kernel module (that of this library)
 *   unloaded            no kernel module is loaded
 *   hang G              calls about GPU G do not return until the line is gone
 *   lost G              GPU G fell off its bus
 *   unsupported G       GPU G can do next to nothing
 *   mig G               GPU G has two MIG GPU instances, 1 and 9
 *   profiled G          another profiler holds GPU G's counters: they read 0
 *   process G PID MIB   a process uses GPU G
 *   busy G PERCENT      GPU G is so busy, by every measure
 *   xid G CODE          the driver reports an XID error
 *
 * With -DMINIMAL it lacks all but a handful of symbols.
 */
#define NVML_NO_UNVERSIONED_FUNC_DEFS 1
#include <nvml.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#ifndef DRIVER
#define DRIVER "580.65.06"
#endif
#define MAX_GPUS 16
#define INSTANCES 2

struct nvmlDevice_st { int gpu, instance, minor; };
static struct nvmlDevice_st gpus[MAX_GPUS], migs[MAX_GPUS][INSTANCES];
static const int instanceIDs[INSTANCES] = {1, 9};

/* Calls f with every line that starts with key, until it returns 0. */
static int lines(const char *key, int (*f)(const char *rest, void *arg), void *arg) {
	const char *path = getenv("FAKE_NVML");
	FILE *file = path ? fopen(path, "r") : NULL;
	char line[256];
	int n = 0;
	size_t len = strlen(key);
	if (!file) return 0;
	while (fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		if (strncmp(line, key, len) || (line[len] != ' ' && line[len])) continue;
		n++;
		if (f && !f(line + len, arg)) break;
	}
	fclose(file);
	return n;
}

static int isGPU(const char *rest, void *arg) {
	int *want = arg;
	if (atoi(rest) != want[0]) return 1;
	want[1] = 1;
	return 0;
}
static int is(const char *key, int gpu) {
	int want[2] = {gpu, 0};
	lines(key, isGPU, want);
	return want[1];
}
static int setOf(const char *rest, void *arg) {
	int *want = arg, gpu, value;
	if (sscanf(rest, "%d %d", &gpu, &value) != 2 || gpu != want[0]) return 1;
	want[1] = value; /* The last one counts. */
	return 1;
}
/* What the facts say about the GPU, or else otherwise. */
__attribute__((unused)) static int of(const char *key, int gpu, int otherwise) {
	int want[2] = {gpu, otherwise};
	lines(key, setOf, want);
	return want[1];
}
static int setInt(const char *rest, void *arg) { *(int *)arg = atoi(rest); return 0; }
static int setText(const char *rest, void *arg) { strcpy(arg, rest + 1); return 0; }

static int initialized;

static nvmlReturn_t module(void) {
	char driver[256] = DRIVER;
	if (lines("unloaded", NULL, NULL)) return NVML_ERROR_DRIVER_NOT_LOADED;
	lines("driver", setText, driver);
	return strcmp(driver, DRIVER) ? NVML_ERROR_LIB_RM_VERSION_MISMATCH : NVML_SUCCESS;
}

/* What every call about a device begins with. */
static nvmlReturn_t enter(nvmlDevice_t d) {
	nvmlReturn_t r = module();
	if (!initialized) return NVML_ERROR_UNINITIALIZED;
	if (r) return r;
	while (is("hang", d.handle->gpu)) usleep(5000);
	return is("lost", d.handle->gpu) ? NVML_ERROR_GPU_IS_LOST : NVML_SUCCESS;
}
#define ENTER(d) do { nvmlReturn_t r_ = enter(d); if (r_) return r_; } while (0)
#define SUPPORTED(d) do { ENTER(d); if (is("unsupported", (d).handle->gpu)) return NVML_ERROR_NOT_SUPPORTED; } while (0)
#define WHOLE(d) do { SUPPORTED(d); if ((d).handle->instance || is("mig", (d).handle->gpu)) return NVML_ERROR_NOT_SUPPORTED; } while (0)

nvmlReturn_t nvmlInit_v2(void) {
	nvmlReturn_t r = module();
	if (r) return r;
	initialized++;
	for (int g = 0; g < MAX_GPUS; g++) {
		gpus[g] = (struct nvmlDevice_st){g, 0, g};
		for (int i = 0; i < INSTANCES; i++) migs[g][i] = (struct nvmlDevice_st){g, instanceIDs[i], i};
	}
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) {
	if (!initialized) return NVML_ERROR_UNINITIALIZED;
	initialized--;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *n) {
	int count = 1;
	lines("count", setInt, &count);
	*n = count;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int i, nvmlDevice_t *d) {
	d->handle = &gpus[i];
	return enter(*d);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *uuid, unsigned int n) {
	ENTER(d);
	if (d.handle->instance) snprintf(uuid, n, "MIG-00000000-0000-0000-000%d-00000000000%d", d.handle->instance, d.handle->gpu);
	else snprintf(uuid, n, "GPU-00000000-0000-0000-0000-00000000000%d", d.handle->gpu);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t d, nvmlMemory_t *m) {
	ENTER(d);
	m->total = 80ull << 30, m->used = 21ull << 30, m->free = 59ull << 30;
	return NVML_SUCCESS;
}

#ifndef MINIMAL
nvmlReturn_t nvmlSystemGetDriverVersion(char *v, unsigned int n) {
	snprintf(v, n, "%s", DRIVER);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *v) {
	*v = 13000;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *name, unsigned int n) {
	ENTER(d);
	snprintf(name, n, d.handle->instance ? "NVIDIA H100 80GB HBM3 MIG 1g.10gb" : "NVIDIA H100 80GB HBM3");
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t d, nvmlDeviceArchitecture_t *a) {
	ENTER(d);
	*a = NVML_DEVICE_ARCH_HOPPER;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, nvmlPciInfo_t *p) {
	ENTER(d);
	p->domain = 0, p->bus = 0x1b + d.handle->gpu, p->device = 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned int *n) {
	ENTER(d);
	*n = d.handle->gpu;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, nvmlMemory_v2_t *m) {
	ENTER(d);
	if (is("unsupported", d.handle->gpu)) return NVML_ERROR_NOT_SUPPORTED;
	if (m->version != nvmlMemory_v2) return NVML_ERROR_ARGUMENT_VERSION_MISMATCH;
	m->total = 80ull << 30, m->reserved = 1ull << 30, m->used = 20ull << 30, m->free = 59ull << 30;
	if (d.handle->instance) m->total = 10ull << 30, m->reserved = 0, m->used = 4ull << 30, m->free = 6ull << 30;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetSamples(nvmlDevice_t d, nvmlSamplingType_t t, unsigned long long since, nvmlValueType_t *type,
				  unsigned int *n, nvmlSample_t *s) {
	struct timeval now;
	WHOLE(d);
	*type = NVML_VALUE_TYPE_UNSIGNED_INT;
	*n = 2;
	if (!s) return NVML_SUCCESS;
	gettimeofday(&now, NULL);
	unsigned long long us = now.tv_sec * 1000000ull + now.tv_usec;
	memset(s, 0, 2 * sizeof *s);
	s[0].timeStamp = us - 1, s[0].sampleValue.uiVal = of("busy", d.handle->gpu, 60);
	s[1].timeStamp = us, s[1].sampleValue.uiVal = of("busy", d.handle->gpu, 80);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, nvmlUtilization_t *u) {
	WHOLE(d);
	u->gpu = of("busy", d.handle->gpu, 99), u->memory = 35;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t d, unsigned int *u, unsigned int *period) {
	WHOLE(d);
	*u = 3, *period = 1;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetDecoderUtilization(nvmlDevice_t d, unsigned int *u, unsigned int *period) {
	WHOLE(d);
	*u = 5, *period = 1;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned int *mw) {
	SUPPORTED(d);
	*mw = 412345;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t d, unsigned int *mw) {
	SUPPORTED(d);
	*mw = 700000;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *mj) {
	SUPPORTED(d);
	*mj = 123456789;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, nvmlTemperatureSensors_t s, unsigned int *t) {
	SUPPORTED(d);
	*t = 41;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t d, nvmlTemperatureThresholds_t which, unsigned int *t) {
	SUPPORTED(d);
	if (which != NVML_TEMPERATURE_THRESHOLD_MEM_MAX) return NVML_ERROR_NOT_SUPPORTED;
	*t = 95;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMarginTemperature(nvmlDevice_t d, nvmlMarginTemperature_t *m) {
	SUPPORTED(d);
	m->marginTemperature = 46;
	return NVML_SUCCESS;
}
static const unsigned int mhz[] = {1755, 1755, 2619, 1545};
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, nvmlClockType_t c, unsigned int *v) {
	SUPPORTED(d);
	*v = mhz[c];
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t d, nvmlClockType_t c, unsigned int *v) {
	SUPPORTED(d);
	*v = mhz[c] + 225;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCurrentClocksEventReasons(nvmlDevice_t d, unsigned long long *r) {
	SUPPORTED(d);
	*r = nvmlClocksEventReasonSwPowerCap;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t d, nvmlMemoryErrorType_t type, nvmlEccCounterType_t scope, unsigned long long *n) {
	SUPPORTED(d);
	*n = type == NVML_MEMORY_ERROR_TYPE_CORRECTED ? (scope == NVML_AGGREGATE_ECC ? 12 : 2) : (scope == NVML_AGGREGATE_ECC ? 1 : 0);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t d, unsigned int *corr, unsigned int *unc, unsigned int *pending, unsigned int *failed) {
	SUPPORTED(d);
	*corr = 2, *unc = 1, *pending = 1, *failed = 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t d, unsigned int *n) {
	SUPPORTED(d);
	*n = 7;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t d, unsigned int link, nvmlEnableState_t *up) {
	SUPPORTED(d);
	if (link >= 18) return NVML_ERROR_INVALID_ARGUMENT;
	*up = link < 2 ? NVML_FEATURE_ENABLED : NVML_FEATURE_DISABLED;
	return NVML_SUCCESS;
}

static int major(void) { return atoi(DRIVER); }

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t d, int n, nvmlFieldValue_t *v) {
	ENTER(d);
	for (int i = 0; i < n; i++) {
		v[i].nvmlReturn = is("unsupported", d.handle->gpu) ? NVML_ERROR_NOT_SUPPORTED : NVML_SUCCESS;
		v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_LONG_LONG;
		switch (v[i].fieldId) {
		case 74: v[i].value.ullVal = 1500000000ull; break;
		case 75: v[i].value.ullVal = 2500000000ull; break;
		case 76: v[i].value.ullVal = 0; break;
		case 82: v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT, v[i].value.uiVal = 48; break;
		case 138: v[i].value.ullVal = 1000 + v[i].scopeId; break;
		case 139: v[i].value.ullVal = 2000 + v[i].scopeId; break;
		case 161: case 162: case 163: v[i].value.ullVal = v[i].fieldId - 160; break;
		case 193: v[i].valueType = NVML_VALUE_TYPE_SIGNED_INT, v[i].value.siVal = -8; break;
		case 194: v[i].valueType = NVML_VALUE_TYPE_SIGNED_INT, v[i].value.siVal = -2; break;
		case 196: v[i].valueType = NVML_VALUE_TYPE_SIGNED_INT, v[i].value.siVal = 0; break;
		case 197: v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT, v[i].value.uiVal = 5000; break;
		case 198: v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT, v[i].value.uiVal = 6000; break;
		case 230: v[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT, v[i].value.uiVal = 1; break;
		/* The same counters, which moved; what is elsewhere in the table is something else. */
		case 251: case 252: case 253: v[i].value.ullVal = major() < 590 ? (v[i].fieldId - 250) * 1000000000ull : 77; break;
		case 269: case 270: case 271: v[i].value.ullVal = major() < 590 ? 77 : (v[i].fieldId - 268) * 1000000000ull; break;
		default: v[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
		}
	}
	return NVML_SUCCESS;
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t d, unsigned int *current, unsigned int *pending) {
	SUPPORTED(d);
	*current = *pending = is("mig", d.handle->gpu);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t d, unsigned int *n) {
	ENTER(d);
	*n = 7;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t d, unsigned int i, nvmlDevice_t *mig) {
	ENTER(d);
	if (i % 2 || i / 2 >= INSTANCES) return NVML_ERROR_NOT_FOUND;
	mig->handle = &migs[d.handle->gpu][i / 2];
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(nvmlDevice_t d, unsigned int *id) {
	ENTER(d);
	*id = d.handle->instance;
	return NVML_SUCCESS;
}

struct processes { nvmlDevice_t device; unsigned int n, room; nvmlProcessInfo_t *infos; };
static int addProcess(const char *rest, void *arg) {
	struct processes *p = arg;
	int gpu, pid, mib;
	if (sscanf(rest, "%d %d %d", &gpu, &pid, &mib) != 3 || gpu != p->device.handle->gpu || p->device.handle->instance == instanceIDs[1]) return 1;
	if (p->n < p->room) {
		memset(&p->infos[p->n], 0, sizeof *p->infos);
		p->infos[p->n].pid = pid;
		p->infos[p->n].usedGpuMemory = mib < 0 ? ~0ull : (unsigned long long)mib << 20;
	}
	p->n++;
	return 1;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t d, unsigned int *n, nvmlProcessInfo_t *infos) {
	SUPPORTED(d);
	struct processes p = {d, 0, *n, infos};
	lines("process", addProcess, &p);
	*n = p.n;
	return p.n > p.room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}
struct samples { nvmlDevice_t device; unsigned int n, room; nvmlProcessUtilizationSample_t *out; unsigned long long now; };
static int addSample(const char *rest, void *arg) {
	struct samples *s = arg;
	int gpu, pid;
	if (sscanf(rest, "%d %d", &gpu, &pid) != 2 || gpu != s->device.handle->gpu) return 1;
	if (s->n < s->room) s->out[s->n] = (nvmlProcessUtilizationSample_t){.pid = pid, .timeStamp = s->now, .smUtil = 30};
	s->n++;
	return 1;
}
nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t d, nvmlProcessUtilizationSample_t *out, unsigned int *n, unsigned long long since) {
	struct timeval now;
	WHOLE(d);
	gettimeofday(&now, NULL);
	struct samples s = {d, 0, out ? *n : 0, out, now.tv_sec * 1000000ull + now.tv_usec};
	lines("process", addSample, &s);
	*n = s.n;
	if (!s.n) return NVML_ERROR_NOT_FOUND;
	return s.n > s.room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS;
}

struct nvmlGpmSample_st { int instance, gpu; };
nvmlReturn_t nvmlGpmQueryDeviceSupport(nvmlDevice_t d, nvmlGpmSupport_t *s) {
	ENTER(d);
	s->isSupportedDevice = !is("unsupported", d.handle->gpu);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlGpmSampleAlloc(nvmlGpmSample_t *s) {
	s->handle = calloc(1, sizeof *s->handle);
	return s->handle ? NVML_SUCCESS : NVML_ERROR_MEMORY;
}
nvmlReturn_t nvmlGpmSampleFree(nvmlGpmSample_t s) {
	free(s.handle);
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlGpmSampleGet(nvmlDevice_t d, nvmlGpmSample_t s) {
	ENTER(d);
	s.handle->gpu = d.handle->gpu, s.handle->instance = 0;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlGpmMigSampleGet(nvmlDevice_t d, unsigned int instance, nvmlGpmSample_t s) {
	ENTER(d);
	s.handle->gpu = d.handle->gpu, s.handle->instance = instance;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlGpmMetricsGet(nvmlGpmMetricsGet_t *m) {
	for (unsigned int i = 0; i < m->numMetrics; i++) {
		m->metrics[i].nvmlReturn = NVML_SUCCESS;
		switch (m->metrics[i].metricId) {
		case NVML_GPM_METRIC_GRAPHICS_UTIL: m->metrics[i].value = 71.5; break;
		case NVML_GPM_METRIC_SM_UTIL: m->metrics[i].value = 65; break;
		case NVML_GPM_METRIC_SM_OCCUPANCY: m->metrics[i].value = 30; break;
		case NVML_GPM_METRIC_ANY_TENSOR_UTIL: m->metrics[i].value = 42; break;
		default: m->metrics[i].nvmlReturn = NVML_ERROR_NOT_SUPPORTED;
		}
		m->metrics[i].value += m->sample2.handle->instance;
		if (of("busy", m->sample2.handle->gpu, 100) < m->metrics[i].value) m->metrics[i].value = of("busy", m->sample2.handle->gpu, 100);
		if (is("profiled", m->sample2.handle->gpu)) m->metrics[i].value = 0;
	}
	return NVML_SUCCESS;
}

static int delivered;
struct nvmlEventSet_st { int unused; };
static struct nvmlEventSet_st eventSet;
nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *s) {
	s->handle = &eventSet;
	return NVML_SUCCESS;
}
nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t s) { return NVML_SUCCESS; }
nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t d, unsigned long long types, nvmlEventSet_t s) {
	SUPPORTED(d);
	return NVML_SUCCESS;
}
struct event { int skip, gpu, code, found; };
static int nextEvent(const char *rest, void *arg) {
	struct event *e = arg;
	if (e->skip-- > 0) return 1;
	e->found = sscanf(rest, "%d %d", &e->gpu, &e->code) == 2;
	return 0;
}
nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t s, nvmlEventData_t *data, unsigned int ms) {
	struct event e = {.skip = delivered};
	lines("xid", nextEvent, &e);
	if (!e.found) {
		usleep(20000);
		return NVML_ERROR_TIMEOUT;
	}
	delivered++;
	memset(data, 0, sizeof *data);
	data->device.handle = &gpus[e.gpu];
	data->eventType = nvmlEventTypeXidCriticalError;
	data->eventData = e.code;
	return NVML_SUCCESS;
}
#endif
