package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/sightglass-ml/sightglass/internal/tool"
	"github.com/sightglass-ml/sightglass/replay"
	"github.com/sightglass-ml/sightglass/replay/engine"
	"github.com/sightglass-ml/sightglass/replay/scenario"
	"github.com/sightglass-ml/sightglass/replay/world"
	"github.com/sightglass-ml/sightglass/rules"
)

// replayFlags are the flags of replay.
type replayFlags struct {
	scenarios, data, set []string
	seed                 uint64
	seeded               bool
	seeds                int
	rules, output        string
	verbose              bool
	profile              string
	history              historyFlags
	// Whether flags that only scenarios have are set.
	dataSet, seedsSet bool
}

func replayCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := tool.DataCommand(app, "replay")
	var f replayFlags
	c.Arg("scenario", "Scenario files; none with --from-prometheus.").ExistingFilesVar(&f.scenarios)
	c.Flag("data", "File of events, in place of the scenario's: NAME=FILE, of a dataset or a model; repeatable.").PlaceHolder("NAME=FILE").IsSetByUser(&f.dataSet).StringsVar(&f.data)
	c.Flag("seed", "Seed, in place of the scenario's.").IsSetByUser(&f.seeded).Uint64Var(&f.seed)
	c.Flag("seeds", "Run each scenario with so many seeds, from the first one on, and compare the runs in a table.").Default("1").IsSetByUser(&f.seedsSet).IntVar(&f.seeds)
	c.Flag("rules", "Folder of rule files, in place of the bundle.").ExistingDirVar(&f.rules)
	c.Flag("set", "Threshold, in place of the bundle's: NAME=NUMBER, such as drift_psi=0.2; repeatable.").PlaceHolder("NAME=NUMBER").StringsVar(&f.set)
	c.Flag("output", "Form of the result: table, json or markdown.").Default("table").EnumVar(&f.output, "table", "json", "markdown")
	c.Flag("verbose", "Log what the exporters log.").BoolVar(&f.verbose)
	c.Flag("cpuprofile", "File for a profile of the processor's time, for go tool pprof.").Hidden().StringVar(&f.profile)
	f.history.register(c)
	return commands{c.FullCommand(): func(ctx context.Context) error { return f.run(ctx, stdout, os.Stderr) }}
}

// errBars means that a replay did not reach the bars of its scenario.
var errBars = errors.New("the bars were not reached")

// check refuses combinations of flags that have no meaning.
func (f *replayFlags) check() error {
	if !f.history.chosen() {
		if len(f.scenarios) == 0 {
			return errors.New("nothing to replay: want scenario files, or --from-prometheus URL")
		}
		if names := f.history.setFlags(); len(names) > 0 {
			return fmt.Errorf("%s: only with --from-prometheus, which is missing", strings.Join(names, ", "))
		}
		return nil
	}
	if len(f.scenarios) > 0 {
		return errors.New("--from-prometheus replays a history and takes no scenario files: run them separately")
	}
	for name, set := range map[string]bool{"--data": f.dataSet, "--seed": f.seeded, "--seeds": f.seedsSet} {
		if set {
			return fmt.Errorf("%s applies to scenarios, not to --from-prometheus: leave it out", name)
		}
	}
	return nil
}

func (f *replayFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.profile != "" {
		stop, err := profile(f.profile)
		if err != nil {
			return err
		}
		defer stop()
	}
	files, err := pairs("data", f.data)
	if err != nil {
		return err
	}
	loaded, err := f.load()
	if err != nil {
		return err
	}
	if f.history.chosen() {
		return f.history.run(ctx, loaded, time.Now, f.output, stdout, stderr)
	}
	if f.seeds < 1 || f.seeds > 1000 {
		return fmt.Errorf("--seeds is %d; want 1 to 1000", f.seeds)
	}
	logger := slog.New(slog.DiscardHandler)
	if f.verbose {
		logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	// All scenarios are read before the first one runs, because a run takes minutes.
	var scenarios []*scenario.Scenario
	for _, path := range f.scenarios {
		s, err := scenario.LoadFile(path)
		if err != nil {
			return fmt.Errorf("the scenario is not valid:\n%w", err)
		}
		scenarios = append(scenarios, s)
	}
	if err := checkScenarios(scenarios, files, loaded); err != nil {
		return err
	}
	var failures []string
	for _, s := range scenarios {
		var runs replay.Seeds
		for i := range f.seeds {
			seed := s.Seed
			if f.seeded {
				seed = f.seed
			}
			seed += uint64(i)
			run, err := measured(ctx, s, replay.Options{
				Rules: loaded, Logger: logger, World: world.Options{Seed: seed, Seeded: true, Files: files},
			}, stderr)
			if err != nil {
				return fmt.Errorf("scenario %s, seed %d:\n%w", s.Name, seed, err)
			}
			v := replay.Judge(s, run)
			runs = append(runs, replay.Seed{Seed: seed, Verdict: v})
			if f.seeds == 1 {
				if err := write(runs[0], f.output, stdout); err != nil {
					return err
				}
			}
			for _, bar := range v.MissedBars {
				failures = append(failures, fmt.Sprintf("%s, seed %d: %s", s.Name, seed, bar))
			}
		}
		if f.seeds > 1 {
			if err := writeSeeds(s.Name, runs, f.output, stdout); err != nil {
				return err
			}
		}
	}
	if len(failures) > 0 {
		return fmt.Errorf("%w:\n%s", errBars, strings.Join(failures, "\n"))
	}
	return nil
}

// profile writes a CPU profile to a file until stop is called.
func profile(path string) (stop func(), err error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = file.Close()
	}, nil
}

// checkScenarios checks what the scenarios and the flags name before the first scenario runs.
func checkScenarios(scenarios []*scenario.Scenario, files map[string]string, loaded engine.Rules) error {
	var recorded, simulated []string
	for _, s := range scenarios {
		if err := s.CheckAlerts(loaded.Alerts()); err != nil {
			return fmt.Errorf("the scenario is not valid:\n%w", err)
		}
		for i := range s.Datasets {
			if d := &s.Datasets[i]; d.Data != nil {
				recorded = append(recorded, d.Name)
			} else {
				simulated = append(simulated, d.Name)
			}
		}
		for i := range s.Models {
			if m := &s.Models[i]; m.Data != nil {
				recorded = append(recorded, m.Name)
			} else {
				simulated = append(simulated, m.Name)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		switch {
		case slices.Contains(recorded, name):
			if _, err := os.Stat(files[name]); err != nil {
				return fmt.Errorf("--data %s=%s: %w; want a Parquet or CSV file, relative to the working directory", name, files[name], err)
			}
		case slices.Contains(simulated, name):
			return fmt.Errorf("--data %s=%s: %q is simulated; want a dataset or model with data: {time: COLUMN} in the scenario", name, files[name], name)
		default:
			return fmt.Errorf("--data %s=%s: no dataset or model with data has this name; want one of %q", name, files[name], recorded)
		}
	}
	return nil
}

// write writes a run in the selected format.
func write(v replay.Seed, output string, w io.Writer) error {
	switch output {
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(v)
	case "markdown":
		if err := v.WriteMarkdown(w); err != nil {
			return err
		}
	default:
		if err := v.WriteTable(w); err != nil {
			return err
		}
	}
	for _, known := range v.Known {
		if _, err := fmt.Fprintf(w, "\nKnown miss: %s\n", known); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// writeSeeds writes the runs of several seeds side by side; in JSON, each run completely.
func writeSeeds(scenario string, runs replay.Seeds, output string, w io.Writer) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(struct {
			Scenario string       `json:"scenario"`
			Seeds    replay.Seeds `json:"seeds"`
		}{scenario, runs})
	}
	if _, err := fmt.Fprintf(w, "%s, %d seeds:\n", scenario, len(runs)); err != nil {
		return err
	}
	for _, g := range runs.Grids() {
		show := g.WriteTable
		if output == "markdown" {
			show = g.WriteMarkdown
		}
		if err := show(w); err != nil {
			return err
		}
	}
	for _, warning := range runs.Warnings() {
		if _, err := fmt.Fprintf(w, "\nWARNING: %s.\n", warning); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(w)
	return err
}

// load loads the rules with the thresholds of the flags.
func (f *replayFlags) load() (engine.Rules, error) {
	var from fs.FS = rules.FS
	if f.rules != "" {
		from = os.DirFS(f.rules)
	}
	loaded, err := engine.LoadRules(from)
	if err != nil {
		return loaded, err
	}
	given, err := pairs("set", f.set)
	if err != nil {
		return loaded, err
	}
	thresholds := make(map[string]float64)
	for name, text := range given {
		if thresholds[name], err = strconv.ParseFloat(text, 64); err != nil {
			return loaded, fmt.Errorf("--set %s=%s: want a number", name, text)
		}
	}
	return loaded.Override(thresholds)
}

func pairs(flag string, given []string) (map[string]string, error) {
	out := make(map[string]string)
	for _, p := range given {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("--%s %q: want a name and a value with = between them", flag, p)
		}
		if before, ok := out[name]; ok {
			return nil, fmt.Errorf("--%s %s is given twice, as %s and %s: want it once", flag, name, before, value)
		}
		out[name] = value
	}
	return out, nil
}

// measured runs a scenario with a progress bar, and prints the resources that it used.
func measured(ctx context.Context, s *scenario.Scenario, o replay.Options, stderr io.Writer) (replay.Result, error) {
	bar := newBar(stderr, int64(time.Duration(s.Length).Hours()/24), fmt.Sprintf("%s, seed %d: days", s.Name, o.World.Seed), progressbar.OptionShowCount(), progressbar.OptionSetWidth(30))
	o.Progress = func(at time.Time) {
		_ = bar.Set64(int64(at.Sub(s.From()).Hours() / 24)) // A failure to draw the bar is not an error of the command.
	}
	defer collectLess()()
	begin := used()
	result, err := replay.Run(ctx, s, o)
	_ = bar.Clear() // As above.
	if err != nil {
		return result, err
	}
	for _, f := range result.Failed {
		if _, err := fmt.Fprintf(stderr, "Rule %s failed %d times, first at %s. Alerts that depend on it are not reliable: %v\n", f.Rule, f.Times, f.At.Format(time.DateTime), f.Err); err != nil {
			return result, err
		}
	}
	_, err = fmt.Fprintf(stderr, "%s, seed %d: %s\n", s.Name, o.World.Seed, begin.since(time.Duration(s.Length).Hours()/24))
	return result, err
}

// newBar returns a progress bar. It is invisible if stderr is not a terminal, such as a file or the log of a job.
func newBar(stderr io.Writer, steps int64, description string, options ...progressbar.Option) *progressbar.ProgressBar {
	file, ok := stderr.(*os.File)
	return progressbar.NewOptions64(max(steps, 1), append(options,
		progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(description), progressbar.OptionThrottle(time.Second),
		progressbar.OptionSetVisibility(ok && term.IsTerminal(int(file.Fd()))))...)
}
