package main

import (
	"context"
	"io"
	"os"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/exporters/dataquality/imports"
	"github.com/sightglass-ml/sightglass/internal/tool"
)

func importCommand(app *kingpin.Application, stdout io.Writer) commands {
	parent := tool.DataCommand(app, "import")
	var o imports.Options
	parent.Flag("source", "Name of the configuration's source that has the tables.").Default("warehouse").StringVar(&o.Source)
	parent.Flag("schema", "Schema of the tables, put before their names.").StringVar(&o.Schema)

	dbt := parent.Command("dbt", "Import the tests of dbt properties files (schema.yml).")
	dbtFiles := dbt.Arg("file", "Properties file; repeatable.").Required().ExistingFiles()

	gx := parent.Command("gx", "Import a suite of Great Expectations.")
	gxFile := gx.Arg("file", "The suite as JSON, from gx/expectations.").Required().ExistingFile()
	gxDataset := gx.Flag("dataset", "Name of the dataset and its table; the name of the suite by default.").String()

	return commands{
		dbt.FullCommand(): func(context.Context) error {
			var all []imports.Dataset
			for _, file := range *dbtFiles {
				data, err := os.ReadFile(file)
				if err != nil {
					return err
				}
				datasets, err := imports.DBT(file, data, o)
				if err != nil {
					return err
				}
				all = append(all, datasets...)
			}
			return imports.Write(stdout, all)
		},
		gx.FullCommand(): func(context.Context) error {
			data, err := os.ReadFile(*gxFile)
			if err != nil {
				return err
			}
			datasets, err := imports.GX(*gxFile, data, *gxDataset, o)
			if err != nil {
				return err
			}
			return imports.Write(stdout, datasets)
		},
	}
}
