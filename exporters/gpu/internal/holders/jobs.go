package holders

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Jobs reads which Slurm jobs a GPU is given to from a folder that the prolog and
// epilog keep: a file for each GPU, named by its index, or index.instance for a
// MIG instance, with one job a line. dcgm-exporter reads the same files, so a
// site that has them changes nothing.
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
