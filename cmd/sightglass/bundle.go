package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/rules"
)

func bundleCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("bundle", "Write the rules, the Alertmanager configuration and the dashboards into a folder, to load them into a stack that exists.")
	dir := c.Arg("dir", "Folder to write to.").Required().String()

	return commands{c.FullCommand(): func(context.Context) error {
		for name, files := range map[string]fs.FS{"rules": rules.FS, "alertmanager": alertmanager.Files} {
			if err := os.CopyFS(filepath.Join(*dir, name), files); err != nil {
				return fmt.Errorf("write %s: %w", name, err)
			}
		}
		_, err := fmt.Fprintf(stdout, "wrote %s\n", *dir)
		return err
	}}
}

var _ = errors.New
