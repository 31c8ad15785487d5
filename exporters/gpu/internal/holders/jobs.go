package holders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Jobs reads the Slurm jobs of a GPU from a folder that prolog and epilog maintain. Each GPU has a file with one job a line, named by its
// index, or index.instance for a MIG instance. dcgm-exporter reads the same files.
func Jobs(dir, gpu, instance string) ([]Holder, error) {
	if dir == "" {
		return nil, nil
	}
	name := gpu
	if instance != "" {
		name += "." + instance
	}
	text, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // No job has the GPU.
	}
	if err != nil {
		return nil, fmt.Errorf("read the jobs of GPU %s: %w", name, err)
	}
	var jobs []Holder
	for line := range strings.Lines(string(text)) {
		if job := strings.TrimSpace(line); job != "" {
			jobs = append(jobs, Holder{SlurmJob: job})
		}
	}
	return jobs, nil
}
