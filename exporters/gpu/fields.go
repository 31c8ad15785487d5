package gpu

import (
	"strconv"
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
)

// Numbers of NVML's table of fields (nvml.h, NVML_FI_*). Below 251 they are the same in every driver. From 251 on they differ between
// drivers. These are read only from drivers that are known to have them, because a wrong number would return another value.
const (
	fieldRetiredSingleBit  = 29
	fieldRetiredDoubleBit  = 30
	fieldThrottlePower     = 74
	fieldThrottleThermal   = 75
	fieldThrottleSyncBoost = 76
	fieldThrottleBoard     = 77
	fieldThrottleReliable  = 79
	fieldMemoryTemperature = 82
	fieldLinkDataTransmit  = 138 // KiB
	fieldLinkDataReceive   = 139 // KiB
	fieldLinkReplay        = 161
	fieldLinkRecovery      = 162
	fieldLinkCRC           = 163
	fieldShutdownMargin    = 193
	fieldSlowdownMargin    = 194
	fieldGPUMaxMargin      = 196
	fieldPCIeTransmit      = 197
	fieldPCIeReceive       = 198
	fieldLinkSentBytes     = 202 // NVLink 5 and later
	fieldLinkReceivedBytes = 204
	fieldLinkReceiveErrors = 208
	fieldLinkIntegrity     = 211
	fieldLinkRecoveries    = 215
	fieldRecoveryAction    = 230
)

// throttleFields returns the counters of throttled nanoseconds.
func throttleFields(driver string) []namedField {
	fields := []namedField{
		{fieldThrottlePower, "power_cap"},
		{fieldThrottleThermal, "thermal"},
		{fieldThrottleSyncBoost, "sync_boost"},
		{fieldThrottleBoard, "board_limit"},
		{fieldThrottleReliable, "reliability"},
	}
	var first uint32
	switch major := majorVersion(driver); {
	case major >= 590:
		first = 269
	case major >= 580:
		first = 251 // seen on 580.65
	default:
		return fields
	}
	return append(fields,
		namedField{first, "sw_thermal"}, namedField{first + 1, "hw_thermal"}, namedField{first + 2, "hw_power_brake"})
}

type namedField struct {
	id   uint32
	name string
}

// majorVersion returns 580 for 580.65.06, and 0 for an invalid version.
func majorVersion(driver string) int {
	major, _, _ := strings.Cut(driver, ".")
	n, err := strconv.Atoi(major)
	if err != nil {
		return 0
	}
	return n
}

// linkErrorFields are the errors of a link. A GPU has one of the two kinds of recovery.
var linkErrorFields = []namedField{
	{fieldLinkReplay, "replay"},
	{fieldLinkRecovery, "recovery"},
	{fieldLinkCRC, "crc"},
	{fieldLinkReceiveErrors, "receive"},
	{fieldLinkIntegrity, "integrity"},
	{fieldLinkRecoveries, "link_recovery"},
}

// throttleReasons are bits of NVML's clocks event reasons. The bit for idle is left out, because an idle GPU is not throttled.
var throttleReasons = []struct {
	bit  uint64
	name string
}{
	{0x2, "application_clocks"},
	{0x4, "power_cap"},
	{0x8, "hw_slowdown"},
	{0x10, "sync_boost"},
	{0x20, "sw_thermal"},
	{0x40, "hw_thermal"},
	{0x80, "hw_power_brake"},
	{0x100, "display_clock"},
	{0x200, "board_limit"},
	{0x400, "reliability"},
}

var clocks = []struct {
	clock nvml.Clock
	name  string
}{
	{nvml.ClockGraphics, "graphics"}, {nvml.ClockSM, "sm"}, {nvml.ClockMemory, "memory"}, {nvml.ClockVideo, "video"},
}

var eccCounters = []struct {
	severity     nvml.ECCSeverity
	scope        nvml.ECCScope
	severityName string
	scopeName    string
}{
	{nvml.ECCCorrected, nvml.ECCVolatile, "corrected", "volatile"},
	{nvml.ECCCorrected, nvml.ECCAggregate, "corrected", "aggregate"},
	{nvml.ECCUncorrected, nvml.ECCVolatile, "uncorrected", "volatile"},
	{nvml.ECCUncorrected, nvml.ECCAggregate, "uncorrected", "aggregate"},
}

// temperatureLimits are the temperature limits. Up to Ampere the driver returns them in degrees. From Ada on it returns their distance from
// the slowdown temperature, and the current margin to that temperature.
var temperatureLimits = []struct {
	threshold nvml.Threshold
	margin    uint32 // field; 0 where none is known
	name      string
}{
	{nvml.ThresholdShutdown, fieldShutdownMargin, "shutdown"},
	{nvml.ThresholdSlowdown, fieldSlowdownMargin, "slowdown"},
	{nvml.ThresholdGPUMax, fieldGPUMaxMargin, "gpu_max"},
	{nvml.ThresholdMemoryMax, 0, "memory_max"},
}

// initialXIDs are published as 0 from the start, so that the first error of a kind is an increase. They are the codes that the alerts
// distinguish, and the codes that precede these.
var initialXIDs = []uint64{13, 31, 43, 45, 48, 62, 63, 64, 69, 74, 79, 92, 94, 95, 119, 120, 140}
