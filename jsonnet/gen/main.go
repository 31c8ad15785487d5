// Command gen writes the generated files of package jsonnet into the current
// directory and removes what is generated no longer.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/sightglass-ml/sightglass/jsonnet"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	files, err := jsonnet.Files()
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(dir, "generated")); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
