package holders

import (
	"os"
	"regexp"
	"sync"
	"time"
)

// ContainerNames finds the names of a container by its ID. The kubelet links the log of every container under /var/log/containers, and the
// name of the link contains pod, namespace, container and ID. Reading them needs neither root nor the container runtime's socket.
type ContainerNames struct {
	dir   string
	clock func() time.Time

	mu     sync.Mutex
	byID   map[string]Holder
	listed time.Time
}

// NewContainerNames reads names from dir. If dir is empty, it finds none.
func NewContainerNames(dir string, clock func() time.Time) *ContainerNames {
	return &ContainerNames{dir: dir, clock: clock}
}

// listEvery limits how often the folder is listed for unknown IDs.
const listEvery = 10 * time.Second

var logName = regexp.MustCompile(`^([^_]+)_([^_]+)_(.+)-([0-9a-f]{64})\.log$`)

// Find returns the pod, namespace and name of the container.
func (n *ContainerNames) Find(id string) (Holder, bool) {
	if n.dir == "" || id == "" {
		return Holder{}, false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if h, ok := n.byID[id]; ok {
		return h, true
	}
	if now := n.clock(); now.Sub(n.listed) >= listEvery {
		n.listed = now
		n.byID = map[string]Holder{}
		entries, err := os.ReadDir(n.dir)
		if err != nil {
			return Holder{}, false // The machine may not run Kubernetes.
		}
		for _, e := range entries {
			if m := logName.FindStringSubmatch(e.Name()); m != nil {
				n.byID[m[4]] = Holder{Pod: m[1], Namespace: m[2], Container: m[3]}
			}
		}
	}
	h, ok := n.byID[id]
	return h, ok
}
