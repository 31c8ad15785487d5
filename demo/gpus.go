package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sightglass-ml/sightglass/demo/speedup"
	"github.com/sightglass-ml/sightglass/demo/stack"
)

// nvmlStandIn is a simulated NVML library. It answers with the contents of a file; see exporters/gpu/testdata/fakenvml.c.
const nvmlStandIn = "libnvidia-ml-simulated.so"

// gpuNode is the name of the machine with the GPUs.
const gpuNode = "gpu-node-1"

// gpus simulates a machine with four GPUs: three serve models and one is allocated but idle.
type gpus struct {
	stack             *stack.Stack
	exporter, library string // paths
	pace              speedup.Factor

	mu    sync.Mutex
	facts []string
}

var _ part = (*gpus)(nil)

// gpuHolders are the processes that use the GPUs, each in a container.
var gpuHolders = []struct {
	gpu, pid, mib             int
	busy                      int // per cent
	namespace, pod, container string
}{
	{0, 2001, 61000, 75, "shop", "support-bot-0", "server"},
	{1, 2002, 61000, 75, "shop", "support-bot-1", "server"},
	{2, 2003, 40000, 90, "shop", "recommender-0", "server"},
	{3, 2004, 12000, 0, "research", "notebook-of-a-summer-project", "jupyter"},
}

func (g *gpus) summary() string { return fmt.Sprintf("%d GPUs", len(gpuHolders)) }

// prepare writes a simulated /proc with the processes.
func (g *gpus) prepare(context.Context, time.Time) error {
	for _, dir := range []string{g.path("proc"), g.path("containers")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("prepare the GPUs: %w", err)
		}
	}
	facts := []string{fmt.Sprint("count ", len(gpuHolders))}
	for _, h := range gpuHolders {
		id := strings.Repeat(fmt.Sprintf("%04x", h.pid), 16)
		dir := filepath.Join(g.path("proc"), fmt.Sprint(h.pid))
		cgroup := fmt.Sprintf("0::/kubepods.slice/kubepods-pod%08x_0000_0000_0000_000000000000.slice/cri-containerd-%s.scope\n", h.pid, id)
		log := filepath.Join(g.path("containers"), fmt.Sprintf("%s_%s_%s-%s.log", h.pod, h.namespace, h.container, id))
		if err := os.Mkdir(dir, 0o755); err != nil {
			return fmt.Errorf("prepare the GPUs: %w", err)
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup"), []byte(cgroup), 0o644); err != nil {
			return fmt.Errorf("prepare the GPUs: %w", err)
		}
		if err := os.WriteFile(log, nil, 0o644); err != nil {
			return fmt.Errorf("prepare the GPUs: %w", err)
		}
		facts = append(facts,
			fmt.Sprintf("process %d %d %d", h.gpu, h.pid, h.mib),
			fmt.Sprintf("busy %d %d", h.gpu, h.busy))
	}
	return g.add(facts...)
}

func (g *gpus) path(name string) string { return filepath.Join(g.stack.Dir(), "gpus", name) }

// add adds facts to the library's answers, atomically.
func (g *gpus) add(facts ...string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.facts = append(g.facts, facts...)
	next := g.path("facts.next")
	if err := os.WriteFile(next, []byte(strings.Join(g.facts, "\n")+"\n"), 0o644); err != nil {
		return fmt.Errorf("change the GPUs: %w", err)
	}
	if err := os.Rename(next, g.path("facts")); err != nil {
		return fmt.Errorf("change the GPUs: %w", err)
	}
	return nil
}

func (g *gpus) history(context.Context, io.Writer, time.Time) error { return nil }

func (g *gpus) start(ctx context.Context) (watched, error) {
	config := fmt.Sprintf("interval: 1s\ntimeout: 1s\nholders: {container_logs: %s, kubelet_socket: \"\"}\n", g.path("containers"))
	if err := os.WriteFile(g.path("gpu.yaml"), []byte(config), 0o644); err != nil {
		return watched{}, fmt.Errorf("write the exporter's configuration: %w", err)
	}
	server, err := g.stack.StartExporter(ctx, stack.ExporterConfig{
		Name: "gpu-exporter", Path: g.exporter, Env: []string{"FAKE_NVML=" + g.path("facts")},
		Args: []string{"--config.file=" + g.path("gpu.yaml"), "--nvml.library=" + g.library, "--path.procfs=" + g.path("proc")},
	})
	return watched{Server: server, job: "gpu", instance: gpuNode}, err
}

func (g *gpus) conditions() []condition {
	return []condition{
		{"every GPU answers", `count(gpu_up == 1)`, len(gpuHolders)},
		{"every GPU's holder is known", `count(gpu_allocation_info{pod!=""})`, len(gpuHolders)},
	}
}

func (g *gpus) incidents() []incident {
	on := func(gpu string) labels { return labels{"instance": gpuNode, "gpu": gpu} }
	return []incident{
		{
			object:      "GPU 3",
			name:        "idle GPU",
			description: "GPU 3 is allocated to a notebook and idle",
			apply:       func(context.Context, time.Time) error { return nil },
			early:       true,
			alerts:      []expected{{alert: "MLGPUIdle", labels: on("3"), measured: percent("busy")}},
		},
		{
			object:      "GPU 1",
			name:        "lost GPU",
			description: "GPU 1 falls off its bus, with XID error 79",
			apply:       func(context.Context, time.Time) error { return g.add("xid 1 79", "lost 1") },
			alerts: []expected{
				{alert: "MLGPULost", labels: labels{"instance": gpuNode}, measured: number("%.0f GPU missing")},
				{alert: "MLGPUXidError", labels: on("1"), measured: func(float64, Result) string { return "XID 79" }},
			},
		},
	}
}

func (g *gpus) run(context.Context) error { return nil }
