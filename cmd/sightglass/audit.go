package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/responder"
)

func auditCommand(app *kingpin.Application, stdout io.Writer) commands {
	parent := app.Command("audit", "Prove or export the audit trail of the responder, which may be running.")

	verify := parent.Command("verify", "Prove that no record was changed, removed or put in; else name the first that was.")
	verifyConfig := verify.Flag("config.file", "Path of the responder's configuration file.").String()
	verifyExport := verify.Flag("export", "Path of an export to prove instead.").String()
	marks := markList(verify.Flag("mark", "A line NUMBER:HASH of an earlier proof that was kept elsewhere; repeatable. It shows whether the whole trail was made anew."))

	export := parent.Command("export", "Write the audit trail as JSON lines.")
	exportConfig := export.Flag("config.file", "Path of the responder's configuration file.").Required().String()

	return commands{
		verify.FullCommand(): func(ctx context.Context) error {
			report, err := verifyAudit(ctx, *verifyConfig, *verifyExport, *marks)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(stdout, "OK: %d records, %d of them redacted, %d before them removed by retention\nmark %s\n",
				report.Records, report.Redacted, report.Removed, report.Head)
			return err
		},
		export.FullCommand(): func(ctx context.Context) (err error) {
			trail, err := responder.OpenAuditTrail(ctx, *exportConfig)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, trail.Close()) }()
			_, err = trail.Export(ctx, stdout)
			return err
		},
	}
}

func verifyAudit(ctx context.Context, config, export string, marks []responder.AuditMark) (report responder.AuditReport, err error) {
	switch {
	case (config == "") == (export == ""):
		return report, errors.New("want one of --config.file and --export")
	case export != "":
		f, err := os.Open(export)
		if err != nil {
			return report, err
		}
		defer f.Close()
		return responder.VerifyAuditExport(f, marks...)
	}
	trail, err := responder.OpenAuditTrail(ctx, config)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, trail.Close()) }()
	return trail.Verify(ctx, marks...)
}

// markValues are the audit marks of a command line.
type markValues []responder.AuditMark

func markList(f *kingpin.FlagClause) *[]responder.AuditMark {
	var marks []responder.AuditMark
	f.SetValue((*markValues)(&marks))
	return &marks
}

// Set implements kingpin.Value.
func (v *markValues) Set(text string) error {
	var m responder.AuditMark
	if err := m.UnmarshalText([]byte(text)); err != nil {
		return err
	}
	*v = append(*v, m)
	return nil
}

func (v *markValues) String() string { return fmt.Sprint(*v) }

// IsCumulative allows the flag several times.
func (v *markValues) IsCumulative() bool { return true }
