package gpu

import (
	"os"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config is the configuration file of the exporter. Nothing in it is required.
type Config struct {
	config.Doc `yaml:"-"`

	// Interval is the time between two collections. Published means are over this time.
	Interval config.Duration `yaml:"interval"`
	// Timeout is the time after which a GPU that does not answer counts as hung.
	Timeout config.Duration `yaml:"timeout"`
	// Expected is the number of GPUs that this machine should have. The default is the largest number since the start, with which a GPU
	// that was missing at the start goes unnoticed.
	Expected int `yaml:"expected,omitempty"`
	// GPM enables profiling on Hopper and later. It does not disturb other profilers, but some sites do not allow profiling.
	GPM bool `yaml:"gpm"`
	// Holders configures how the holders of the GPUs are found.
	Holders HoldersConfig `yaml:"holders"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.Interval = config.Duration(10 * time.Second)
	c.Timeout = config.Duration(5 * time.Second)
	c.GPM = true
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	// GPM's samples require the minimum, and the driver's sample buffer the maximum.
	if i := time.Duration(c.Interval); i < time.Second || i > time.Minute {
		at.Errorf("interval", "%s; want 1s to 1m", c.Interval)
	}
	if t := time.Duration(c.Timeout); t <= 0 || t > time.Duration(c.Interval) {
		at.Errorf("timeout", "%s; want more than 0s and at most interval, which is %s", c.Timeout, c.Interval)
	}
	if c.Expected < 0 {
		at.Errorf("expected", "%d; want the number of GPUs of this machine", c.Expected)
	}
}

// HoldersConfig configures how the holders of the GPUs are found.
type HoldersConfig struct {
	// Enabled switches the search for holders.
	Enabled bool `yaml:"enabled"`
	// KubeletSocket is the kubelet's pod-resources socket. The default path may be missing; a configured path must exist.
	KubeletSocket string `yaml:"kubelet_socket,omitempty"`
	// Resources are further extended resources whose devices are GPUs, in addition to nvidia.com/gpu and nvidia.com/mig-*.
	Resources []string `yaml:"resources,omitempty"`
	// ContainerLogs is the folder in which the kubelet links the logs of containers. The links contain the names of the pods.
	ContainerLogs string `yaml:"container_logs,omitempty"`
	// JobDirectory is the folder in which Slurm's prolog writes the jobs of each GPU.
	JobDirectory config.Path `yaml:"job_directory,omitempty"`
	// Max limits the number of holders of one GPU with their own series.
	Max int `yaml:"max"`

	socketRequired bool
}

// SetDefaults implements config.Defaulter.
func (h *HoldersConfig) SetDefaults() {
	h.Enabled = true
	h.KubeletSocket = "/var/lib/kubelet/pod-resources/kubelet.sock"
	h.ContainerLogs = "/var/log/containers"
	h.Max = 100
}

// Validate implements config.Validator.
func (h *HoldersConfig) Validate(at config.At) {
	if h.Max < 1 || h.Max > 10_000 {
		at.Errorf("max", "%d; want 1 to 10000", h.Max)
	}
	h.socketRequired = at.Has("kubelet_socket")
	if _, err := os.Stat(h.KubeletSocket); err != nil && h.socketRequired && h.KubeletSocket != "" {
		at.Laterf("kubelet_socket", "%q: %v; want the kubelet's pod-resources socket, mounted into the container", h.KubeletSocket, err)
	}
	if h.JobDirectory != "" {
		at.CheckFolder("job_directory", string(h.JobDirectory))
	}
}
