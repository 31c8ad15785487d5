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

// usage is what the process has used at one time.
type usage struct {
	at        time.Time
	processor time.Duration
	// idle and total are the seconds that the cores had no work for, and all of them.
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

// since says what a replay of some days has cost. On a machine that is busy with other work the wall time says little, so the
// time that it would take on an idle one follows from the CPU-seconds and the share of the time in which the cores had work.
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

// Most of what a replay allocates is garbage at once, so with the memory that a replay may take, collecting it less often saves
// a fifth of its time. A setting of the environment wins.
const (
	collectAt   = 300     // Percent of what is in use.
	memoryLimit = 3 << 29 // 1.5 GiB, beyond which it is collected as often as needed.
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

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakMemory is the most that this process held at a time, as Linux reports it.
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
