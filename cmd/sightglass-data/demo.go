package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"
	"golang.org/x/term"

	"github.com/sightglass-ml/sightglass/demo"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

func demoCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := tool.DataCommand(app, "demo")
	once := c.Flag("once", "End after the last incident, with an error unless every incident was detected and nothing else alerted.").Bool()
	cfg := demo.Config{Out: stdout}
	c.Flag("speedup", fmt.Sprintf("Factor by which time is compressed, 1 to %d.", demo.MaxSpeedup)).Default(fmt.Sprint(demo.DefaultSpeedup)).Float64Var(&cfg.Speedup)
	c.Flag("dir", "Folder that keeps data, configuration and logs; without it they are removed at the end.").StringVar(&cfg.Dir)
	c.Flag("tools-dir", "Folder of prometheus, promtool and alertmanager; by default the folder tools beside this program.").StringVar(&cfg.ToolsDir)
	c.Flag("bin-dir", "Folder of the exporters; by default that of this program.").StringVar(&cfg.BinDir)
	c.Flag("save-scrapes", "Folder that gets what each exporter publishes after the last incident, as <job>.prom.").StringVar(&cfg.SaveScrapes)

	return commands{c.FullCommand(): func(ctx context.Context) error {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		if cfg.ToolsDir == "" {
			cfg.ToolsDir = filepath.Join(filepath.Dir(self), "tools")
		}
		if cfg.BinDir == "" {
			cfg.BinDir = filepath.Dir(self)
		}
		cfg.Stay = !*once
		if file, ok := stdout.(*os.File); ok {
			if width, _, err := term.GetSize(int(file.Fd())); err == nil {
				cfg.Width, cfg.ANSI = width, os.Getenv("NO_COLOR") == ""
			}
		}
		result, err := demo.Run(ctx, cfg)
		if errors.Is(err, context.Canceled) {
			return errors.New("interrupted")
		}
		return errors.Join(err, result.Err())
	}}
}
