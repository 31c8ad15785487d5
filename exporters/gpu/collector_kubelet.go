package gpu

import (
	"context"
	"errors"
	"io/fs"
	"os"
)

// listPods refreshes what the kubelet allocated.
func (i *instance) listPods(ctx context.Context) error {
	if _, err := os.Stat(i.cfg.Holders.KubeletSocket); errors.Is(err, fs.ErrNotExist) && !i.cfg.Holders.socketRequired {
		i.holders.kubelet.Store(nil)
		return nil // This is no node of Kubernetes.
	}
	list, err := i.kubelet.List(ctx)
	if err != nil {
		i.holders.kubelet.Store(nil) // Who held a GPU then may have gone.
		return err
	}
	i.holders.kubelet.Store(&list)
	return nil
}
