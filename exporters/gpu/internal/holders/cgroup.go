// Package holders finds the holders of a GPU.
//
// Input: process IDs and their control groups, the kubelet's allocations, and the files of Slurm's prolog. Output: Holders: the container of
// a pod, a Slurm job, a systemd unit, or none of these. State: the connection to the kubelet and a cache of container names. The package
// never needs root, an API server or the socket of a container runtime.
package holders

import (
	"cmp"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// Holder is a holder of a GPU. It is comparable.
type Holder struct {
	Namespace, Pod, Container string
	SlurmJob                  string
	Unit                      string
}

// Values of Unit for processes without a unit. A systemd unit cannot have such a name.
const (
	// NoUnit is a process in no pod, no job and no unit.
	NoUnit = "(none)"
	// UnknownUnit is a process that has ended, or that the exporter cannot see because it has its own PID namespace.
	UnknownUnit = "(unknown)"
	// OtherUnit represents all holders beyond the limit.
	OtherUnit = "(other)"
)

// Compare orders holders.
func Compare(a, b Holder) int {
	return cmp.Or(
		cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Container, b.Container),
		cmp.Compare(a.SlurmJob, b.SlurmJob), cmp.Compare(a.Unit, b.Unit),
	)
}

// Labels returns the values of the labels namespace, pod, container, slurm_job, unit.
func (h Holder) Labels() []string {
	return []string{h.Namespace, h.Pod, h.Container, h.SlurmJob, h.Unit}
}

// Group has the information of a process's control groups.
type Group struct {
	PodUID      string
	ContainerID string
	// Holder is complete except for the name of a pod, which control groups do not contain.
	Holder Holder
}

var (
	// It matches both cgroup drivers of the kubelet, cgroupfs and systemd, and static pods, whose UID is a hash.
	podUID      = regexp.MustCompile(`(?:/|-)pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)`)
	containerID = regexp.MustCompile(`(?:^|[/-])([0-9a-f]{64})(?:\.scope)?(?:/|$)`)
	slurmJob    = regexp.MustCompile(`slurm.*/job_(\d+)(?:/|$)`)
)

// ProcessGroup reads the control groups of a process from the proc file system
// that is mounted at procfs.
func ProcessGroup(procfs string, pid uint32) Group {
	text, err := os.ReadFile(filepath.Join(procfs, strconv.FormatUint(uint64(pid), 10), "cgroup"))
	if err != nil {
		return Group{Holder: Holder{Unit: UnknownUnit}}
	}
	return ParseCgroup(string(text))
}

// ParseCgroup reads the lines of /proc/<pid>/cgroup, hierarchy:controllers:path, of version 1, version 2 or both. The most specific line
// wins: a pod over a job over a container over a unit.
func ParseCgroup(text string) Group {
	var job, container, unit string
	for line := range strings.Lines(text) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		_, p, _ := strings.Cut(rest, ":")
		id := ""
		if all := containerID.FindAllStringSubmatch(p, -1); len(all) > 0 {
			id = all[len(all)-1][1] // the innermost of nested containers
		}
		if m := podUID.FindStringSubmatch(p); m != nil {
			return Group{PodUID: strings.ReplaceAll(m[1], "_", "-"), ContainerID: id}
		}
		if m := slurmJob.FindStringSubmatch(p); m != nil {
			job = m[1]
		}
		container = cmp.Or(container, id)
		unit = cmp.Or(unit, unitOf(p))
	}
	switch {
	case job != "":
		return Group{Holder: Holder{SlurmJob: job}}
	case container != "":
		return Group{ContainerID: container, Holder: Holder{Container: container[:12]}}
	}
	return Group{Holder: Holder{Unit: cmp.Or(unit, NoUnit)}}
}

// unitOf returns the innermost unit of a path.
func unitOf(p string) string {
	for ; p != "/" && p != "." && p != ""; p = path.Dir(p) {
		if base := path.Base(p); strings.HasSuffix(base, ".service") || strings.HasSuffix(base, ".scope") {
			return base
		}
	}
	return ""
}
