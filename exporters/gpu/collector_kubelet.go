package gpu

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// listPods reads the kubelet's allocations.
func (i *instance) listPods(ctx context.Context) error {
	if _, err := os.Stat(i.cfg.Holders.KubeletSocket); errors.Is(err, fs.ErrNotExist) && !i.cfg.Holders.socketRequired {
		i.holders.kubelet.Store(nil)
		return nil // This machine is not a node of Kubernetes.
	}
	list, err := i.kubelet.List(ctx)
	if err != nil {
		i.holders.kubelet.Store(nil) // The old allocations may have ended.
		return err
	}
	i.holders.kubelet.Store(&list)
	return nil
}
