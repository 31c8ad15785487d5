// Package dashboards declares the Grafana dashboards of the bundle, one file per dashboard.
//
// Input: none; a declaration is Go code. Output: the files in json/, which users import or provision and which the mixin contains. `go
// generate ./dashboards` writes them, and a test fails if they differ from the code. State: none.
package dashboards

import (
	"github.com/sightglass-ml/sightglass/dashboards/internal/kit"
	"github.com/sightglass-ml/sightglass/dashboards/internal/lint"
)

//go:generate go run ./gen

// all returns the dashboards in the order of their file names.
func all() []kit.Dashboard {
	return []kit.Dashboard{
		costDashboard(),
		dataQuality(),
		gpuDashboard(),
		inference(),
		modelQuality(),
		overview(),
		responseDashboard(),
	}
}

// Files renders every generated file by its path in this directory: the dashboards, and the dashboard linter's list of exclusions.
func Files() (map[string][]byte, error) {
	files := map[string][]byte{}
	var models []lint.Dashboard
	for _, d := range all() {
		d.NeededBy = neededBy
		body, err := d.JSON()
		if err != nil {
			return nil, err
		}
		files["json/"+d.UID+".json"] = body
		model, err := lint.Parse(body)
		if err != nil {
			return nil, err
		}
		models = append(models, model)
	}
	exclusions, err := lint.Exclusions(models)
	if err != nil {
		return nil, err
	}
	files[".lint"] = exclusions
	return files, nil
}
