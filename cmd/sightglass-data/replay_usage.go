package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// usage is the resource usage of the process at one time.
type usage struct {
	at        time.Time
	processor time.Duration
	// idle and total are the idle and the total CPU-seconds of the cores.
	idle, total float64
}

func used() usage {
	runtime.GC() // The runtime counts idle time at the end of a collection.
	samples := []metrics.Sample{{Name: "/cpu/classes/idle:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}}
	metrics.Read(samples)
	u := usage{at: time.Now(), processor: cpuTime()}
	for i, to := range []*float64{&u.idle, &u.total} {
		if v := samples[i].Value; v.Kind() == metrics.KindFloat64 {
			*to = v.Float64()
		}
	}
	return u
}

// since describes the resources that a replay of some days used. On a busy machine the wall time is not meaningful. The time on an idle
// machine is therefore computed from the CPU-seconds and the share of the time in which the cores were busy.
func (u usage) since(days float64) string {
	now := used()
	wall, processor := now.at.Sub(u.at), (now.processor - u.processor).Seconds()
	text := fmt.Sprintf("%.4g days in %s, %.0f simulated days a minute; %.0f CPU-seconds, %.2g a day", days, wall.Round(time.Second), days/wall.Minutes(), processor, processor/days)
	cores := float64(runtime.GOMAXPROCS(0))
	if total := now.total - u.total; total > 0 {
		atWork := 1 - (now.idle-u.idle)/total
		text += fmt.Sprintf("; %.0f cores had work for %.0f %% of the time, so %.0f days a minute on an idle machine", cores, 100*atWork, days/(processor/cores/atWork/60))
	}
	return text + "; peak memory " + peakMemory()
}

// Most allocations of a replay are short-lived, so less frequent garbage collection saves a fifth of the time. The environment variables
// GOGC and GOMEMLIMIT take precedence.
const (
	collectAt   = 300     // percent of the live heap
	memoryLimit = 3 << 29 // 1.5 GiB, from which collections are as frequent as necessary
)

func collectLess() (undo func()) {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return func() {}
	}
	percent, limit := debug.SetGCPercent(collectAt), debug.SetMemoryLimit(memoryLimit)
	return func() {
		debug.SetGCPercent(percent)
		debug.SetMemoryLimit(limit)
	}
}

// cpuTime returns the CPU time of this process.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory returns the peak memory of this process, as Linux reports it.
func peakMemory() string {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			if kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB")); err == nil {
				return fmt.Sprintf("%.2f GiB", float64(kb)/(1<<20))
			}
		}
	}
	return "unknown"
}
