package gpu

import (
	"os"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Config is the configuration file of the exporter. Nothing in it is required.
type Config struct {
	config.Doc `yaml:"-"`

	// Interval is the time between two collections. What is called a mean
	// is one over this time.
	Interval config.Duration `yaml:"interval"`
	// Timeout is how long one GPU may take before it counts as hung.
	Timeout config.Duration `yaml:"timeout"`
	// Expected is the number of GPUs that this machine should have. Without it,
	// the most that were seen since the start stand for it, so a GPU that was
	// gone before is not missed.
	Expected int `yaml:"expected,omitempty"`
	// GPM switches profiling on Hopper and later off. It does not disturb other
	// profilers, but some sites allow none.
	GPM bool `yaml:"gpm"`
	// Holders says how to find out who uses the GPUs.
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
	// GPM's samples and the driver's sample buffer bound it on either side.
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

// HoldersConfig says how to find out who uses the GPUs.
type HoldersConfig struct {
	// Enabled switches all of it.
	Enabled bool `yaml:"enabled"`
	// KubeletSocket is the kubelet's pod-resources socket. The default path may
	// be missing; a path that the file names may not.
	KubeletSocket string `yaml:"kubelet_socket,omitempty"`
	// Resources are names of extended resources beside nvidia.com/gpu and
	// nvidia.com/mig-* whose devices are GPUs.
	Resources []string `yaml:"resources,omitempty"`
	// ContainerLogs is the folder in which the kubelet links containers' logs by
	// the names of their pods.
	ContainerLogs string `yaml:"container_logs,omitempty"`
	// JobDirectory is where Slurm's prolog writes which jobs have which GPU.
	JobDirectory config.Path `yaml:"job_directory,omitempty"`
	// Max bounds the holders of one GPU that have series of their own.
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
