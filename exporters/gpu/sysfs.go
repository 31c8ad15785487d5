package gpu

import (
	"os"
	"path/filepath"
	"strings"
)

// nvidiaVendor is NVIDIA's PCI vendor ID.
const nvidiaVendor = "0x10de"

// sleeps reports whether the kernel suspended the GPU at this PCI address. Every call to the driver would wake it.
func sleeps(sysfs, pci string) bool {
	return attribute(sysfs, pci, "power/runtime_status") == "suspended"
}

// allSleep reports whether the machine has NVIDIA GPUs and all of them are suspended. Initialising NVML would wake them.
func allSleep(sysfs string) bool {
	gpus := 0
	devices, err := os.ReadDir(filepath.Join(sysfs, "bus/pci/devices"))
	if err != nil {
		return false
	}
	for _, d := range devices {
		if attribute(sysfs, d.Name(), "vendor") != nvidiaVendor {
			continue
		}
		class := attribute(sysfs, d.Name(), "class")
		if !strings.HasPrefix(class, "0x0300") && !strings.HasPrefix(class, "0x0302") {
			continue // the audio or USB function of a GPU, or a switch
		}
		if !sleeps(sysfs, d.Name()) {
			return false
		}
		gpus++
	}
	return gpus > 0
}

func attribute(sysfs, pci, name string) string {
	text, err := os.ReadFile(filepath.Join(sysfs, "bus/pci/devices", pci, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
