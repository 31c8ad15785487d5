package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/exporters/cost"
	"github.com/sightglass-ml/sightglass/exporters/dataquality"
	"github.com/sightglass-ml/sightglass/exporters/gpu"
	"github.com/sightglass-ml/sightglass/exporters/modelquality"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/connect"
	"github.com/sightglass-ml/sightglass/internal/tool"
	"github.com/sightglass-ml/sightglass/responder"
)

// program has the checks of one exporter.
type program struct {
	// check validates a configuration file. connect reports what can be reached with it.
	check   func(path string) error
	connect func(ctx context.Context, report *connect.Report, path string) error
}

func programOf[C interface{ Notes() []config.Note }](load func(path string) (C, error), report func(context.Context, *connect.Report, C)) program {
	return program{
		check: func(path string) error {
			_, err := load(path)
			return err
		},
		connect: func(ctx context.Context, r *connect.Report, path string) error {
			cfg, err := load(path)
			if err != nil {
				return err
			}
			// A problem of this machine is reported separately, so that the other checks still run.
			for _, n := range cfg.Notes() {
				if n.Later {
					r.Add("configuration", "warning", connect.Info, n.Error.Error())
				} else {
					r.Add("configuration", "valid here", connect.Failed, n.Error.Error())
				}
			}
			report(ctx, r, cfg)
			return nil
		},
	}
}

func programs(nvml *string) map[string]program {
	return map[string]program{
		"cost":        programOf(cost.Load, cost.Connect),
		"dataquality": programOf(dataquality.Load, dataquality.Connect),
		"gpu": programOf(config.Load[gpu.Config], func(ctx context.Context, r *connect.Report, cfg gpu.Config) {
			gpu.Connect(ctx, r, cfg, *nvml)
		}),
		"modelquality": programOf(modelquality.Load, modelquality.Connect),
		"responder":    programOf(config.Load[responder.Config], responder.Connect),
	}
}

func checkCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := tool.DataCommand(app, "check")
	var nvml string
	all := programs(&nvml)
	names := slices.Sorted(maps.Keys(all))
	name := c.Arg("program", "Which program the file is for: "+strings.Join(names, ", ")+".").Required().Enum(names...)
	file := c.Arg("file", "Path of the configuration file.").Required().String()
	connecting := c.Flag("connect", "Also connect, and report what is reached and what is in it.").Bool()
	timeout := c.Flag("timeout", "With --connect: how long one connection may take.").Default("10s").Duration()
	c.Flag("nvml.library", "With --connect: name or path of NVIDIA's library, for gpu.").StringVar(&nvml)

	return commands{c.FullCommand(): func(ctx context.Context) error {
		if !*connecting {
			if err := all[*name].check(*file); err != nil {
				return fmt.Errorf("the configuration is not valid:\n%w", err)
			}
			_, err := fmt.Fprintf(stdout, "OK: %s is valid\n", *file)
			return err
		}
		if *timeout <= 0 {
			return fmt.Errorf("--timeout is %s; want more than 0s", *timeout)
		}
		report := connect.Report{Timeout: *timeout}
		if err := all[*name].connect(ctx, &report, *file); err != nil {
			return fmt.Errorf("the configuration is not valid:\n%w", err)
		}
		if err := report.Write(stdout); err != nil {
			return err
		}
		if n := report.Failures(); n > 0 {
			return fmt.Errorf("%d of %d checks failed", n, len(report.Rows))
		}
		return nil
	}}
}
