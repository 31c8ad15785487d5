package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/state"
)

// errUndo rolls back the test transaction.
var errUndo = errors.New("undo")

// Probe checks that the store can be written, without changing it: it rolls back the table that it creates. If there is no
// database yet, it checks the folder.
func Probe(ctx context.Context, cfg Config) (found string, err error) {
	kind := "postgresql"
	if cfg.PostgreSQL == (config.SecretSource{}) {
		kind = string(cfg.Path)
		if _, err := os.Stat(kind); errors.Is(err, fs.ErrNotExist) {
			return state.Probe(filepath.Dir(kind))
		}
	}
	s, err := connect(cfg)
	if err != nil {
		return "", err
	}
	err = s.Write(ctx, func(tx *Tx) error {
		if _, err := tx.Exec("CREATE TABLE sightglass_connection_check (x BIGINT)"); err != nil {
			return fmt.Errorf("make a table, and take it back: %w", err)
		}
		return errUndo
	})
	if errors.Is(err, errUndo) {
		err = nil
	}
	return kind + " can be written to", errors.Join(err, s.Close())
}
