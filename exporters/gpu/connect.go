package gpu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/driver"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/holders"
	"github.com/sightglass-ml/sightglass/exporters/gpu/internal/nvml"
	"github.com/sightglass-ml/sightglass/internal/connect"
)

// Connect reports which GPUs the exporter would find, and the sources of their holders. library is the name or path of NVIDIA's library;
// empty means driver.DefaultName.
func Connect(ctx context.Context, report *connect.Report, cfg Config, library string) {
	connectDevices(ctx, report, cfg, driver.New(library))
	connectHolders(ctx, report, cfg.Holders)
}

func connectDevices(ctx context.Context, report *connect.Report, cfg Config, lib nvml.Library) {
	if !report.Do(ctx, "nvml", "found", func(context.Context) (string, error) {
		if err := lib.Init(); err != nil {
			return "", fmt.Errorf("initialise NVML: %w", err)
		}
		driver, err := lib.DriverVersion()
		if err != nil {
			return "", fmt.Errorf("ask for the driver: %w", err)
		}
		cuda, _ := lib.CUDAVersion() // Old drivers lack it.
		return "driver " + driver + ", CUDA " + cuda, nil
	}) {
		return
	}
	defer report.Close(lib.Shutdown)
	n, ok := connect.Try(ctx, report, "nvml", "devices", func(context.Context) (int, string, error) {
		n, err := lib.DeviceCount()
		switch {
		case err != nil:
			return 0, "", fmt.Errorf("count GPUs: %w", err)
		case n < cfg.Expected:
			return n, "", fmt.Errorf("%d GPUs; the configuration expects %d", n, cfg.Expected)
		}
		return n, strconv.Itoa(n) + " GPUs", nil
	})
	if !ok && n == 0 {
		return
	}
	for i := range n {
		report.Do(ctx, "gpu "+strconv.Itoa(i), "answers", func(context.Context) (string, error) { return describe(lib, i) })
	}
}

// describe reads the properties that every GPU has.
func describe(lib nvml.Library, index int) (string, error) {
	d, err := lib.Device(index)
	if err != nil {
		return "", fmt.Errorf("find the GPU: %w", err)
	}
	uuid, err := d.UUID()
	if err != nil {
		return "", fmt.Errorf("ask for its UUID: %w", err)
	}
	name, err := d.Name()
	if err != nil {
		return "", fmt.Errorf("ask for its name: %w", err)
	}
	found := name + ", " + uuid
	if m, err := d.Memory(); err == nil {
		found += fmt.Sprintf(", %d MiB", m.Total>>20)
	}
	return found, nil
}

func connectHolders(ctx context.Context, report *connect.Report, cfg HoldersConfig) {
	if !cfg.Enabled {
		report.Add("holders", "enabled", connect.Info, "no: holders.enabled is false")
		return
	}
	if dir := string(cfg.JobDirectory); dir != "" {
		report.Do(ctx, "holders", "job_directory", func(context.Context) (string, error) {
			entries, err := os.ReadDir(dir)
			return fmt.Sprintf("%s can be read, %d files", dir, len(entries)), err
		})
	}
	if cfg.KubeletSocket == "" {
		return
	}
	if _, err := os.Stat(cfg.KubeletSocket); errors.Is(err, fs.ErrNotExist) && !cfg.socketRequired {
		report.Add("holders", "kubelet_socket", connect.Info, "there is none: this is no node of Kubernetes")
		return
	}
	report.Do(ctx, "holders", "kubelet_socket", func(ctx context.Context) (string, error) {
		kubelet, err := holders.DialKubelet(cfg.KubeletSocket, cfg.Resources)
		if err != nil {
			return "", err
		}
		_, err = kubelet.List(ctx)
		return cfg.KubeletSocket + " answers", errors.Join(err, kubelet.Close())
	})
}
