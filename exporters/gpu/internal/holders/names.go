package holders

import (
	"os"
	"regexp"
	"sync"
	"time"
)

// ContainerNames finds the names of a container by its id. The kubelet links the
// log of every container under /var/log/containers by a name that has them all,
// so listing a folder answers what would else take the container runtime's socket
// and root.
type ContainerNames struct {
	dir   string
	clock func() time.Time

	mu     sync.Mutex
	byID   map[string]Holder
	listed time.Time
}

// NewContainerNames reads names from dir; an empty dir has none.
func NewContainerNames(dir string, clock func() time.Time) *ContainerNames {
	return &ContainerNames{dir: dir, clock: clock}
}

// listEvery bounds how often the folder is listed for ids that it does not have.
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
			return Holder{}, false // There need be no Kubernetes.
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
