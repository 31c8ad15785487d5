package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/alertmanager"
	"github.com/sightglass-ml/sightglass/dashboards"
	"github.com/sightglass-ml/sightglass/rules"
)

func bundleCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("bundle", "Write the rules, the Alertmanager configuration and the dashboards, to load them into a stack that exists.")
	dir := c.Arg("dir", "Folder that gets rules, alertmanager and dashboards/json. A file that is there already is not overwritten.").Required().String()
	am := c.Flag("alertmanager", "Version of the Alertmanager that reads the configuration: 0.31 and later, or 0.25 as in Debian 12.").Default("0.31").Enum("0.31", "0.25")

	return commands{c.FullCommand(): func(context.Context) error {
		if err := writeBundle(*dir, *am == "0.25"); err != nil {
			return err
		}
		_, err := fmt.Fprintf(stdout, "wrote rules, alertmanager and dashboards to %s\n", *dir)
		return err
	}}
}

func writeBundle(dir string, older bool) error {
	if err := os.CopyFS(filepath.Join(dir, "rules"), rules.FS); err != nil {
		return fmt.Errorf("write the rules: %w", err)
	}
	if err := writeAlertmanager(filepath.Join(dir, "alertmanager"), older); err != nil {
		return fmt.Errorf("write the Alertmanager configuration: %w", err)
	}
	files, err := dashboards.Files()
	if err != nil {
		return err
	}
	for name, content := range files {
		if !strings.HasPrefix(name, "json/") {
			continue // It is of use in the repository only.
		}
		if err := writeNew(filepath.Join(dir, "dashboards", filepath.FromSlash(name)), content); err != nil {
			return fmt.Errorf("write the dashboards: %w", err)
		}
	}
	return nil
}

func writeAlertmanager(dir string, older bool) error {
	if older {
		return alertmanager.WriteOlder(dir)
	}
	return os.CopyFS(dir, alertmanager.Files)
}

// writeNew writes a file that must not be there yet.
func writeNew(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}
