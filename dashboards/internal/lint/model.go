// Package lint checks dashboards like dashboard-linter, with additional rules for this bundle.
//
// Input: the JSON of a dashboard and a .lint file. Output: findings. State: none.
//
// dashboard-linter itself cannot be a dependency, because its module has replace directives: `go install` refuses them, and a go.mod that
// requires the module ignores them. Its 17 rules are implemented here under the same names. A user who runs it on the committed JSON gets the
// same findings as our tests.
package lint

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Dashboard has the parts of a classic dashboard that the rules and the query test use.
type Dashboard struct {
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Tags        []string `json:"tags"`
	Editable    *bool    `json:"editable"`
	Links       []Link   `json:"links"`
	Panels      []Panel  `json:"panels"`
	Annotations struct {
		List []Annotation `json:"list"`
	} `json:"annotations"`
	Templating struct {
		List []Variable `json:"list"`
	} `json:"templating"`

	body []byte
}

// Link is a link in the header of a dashboard.
type Link struct {
	Type        string   `json:"type"`
	Tags        []string `json:"tags"`
	IncludeVars bool     `json:"includeVars"`
	KeepTime    bool     `json:"keepTime"`
}

// Annotation is a query whose results are marked on every time series.
type Annotation struct {
	Name            string `json:"name"`
	Expr            string `json:"expr"`
	UseValueForTime bool   `json:"useValueForTime"`
}

// Variable is one selection in the header of a dashboard.
type Variable struct {
	Name       string     `json:"name"`
	Label      string     `json:"label"`
	Type       string     `json:"type"`
	Query      string     `json:"query"`
	Datasource Datasource `json:"datasource"`
	Multi      bool       `json:"multi"`
	AllValue   string     `json:"allValue"`
	Refresh    int        `json:"refresh"`
	Sort       int        `json:"sort"`
	Regex      string     `json:"regex"`
	Current    struct {
		Value any `json:"value"`
	} `json:"current"`
}

// Datasource is a reference to a data source.
type Datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Panel is a panel or a row.
type Panel struct {
	ID              int        `json:"id"`
	Type            string     `json:"type"`
	Title           string     `json:"title"`
	Description     string     `json:"description"`
	Datasource      Datasource `json:"datasource"`
	Targets         []Target   `json:"targets"`
	Transformations []struct {
		ID      string `json:"id"`
		Options struct {
			ExcludeByName map[string]bool   `json:"excludeByName"`
			RenameByName  map[string]string `json:"renameByName"`
		} `json:"options"`
	} `json:"transformations"`
	Collapsed bool    `json:"collapsed"`
	Panels    []Panel `json:"panels"`
	GridPos   struct {
		H int `json:"h"`
		W int `json:"w"`
		X int `json:"x"`
		Y int `json:"y"`
	} `json:"gridPos"`
	Options struct {
		SortBy  []SortBy `json:"sortBy"`
		PerPage int      `json:"perPage"`
		// Grafana 12.2 and later read it here, earlier ones in the footer.
		EnablePagination bool `json:"enablePagination"`
		Footer           struct {
			EnablePagination bool `json:"enablePagination"`
		} `json:"footer"`
		Legend struct {
			DisplayMode string   `json:"displayMode"`
			Placement   string   `json:"placement"`
			Calcs       []string `json:"calcs"`
		} `json:"legend"`
	} `json:"options"`
	FieldConfig struct {
		Defaults struct {
			Unit       string   `json:"unit"`
			NoValue    string   `json:"noValue"`
			Mappings   []any    `json:"mappings"`
			Color      Color    `json:"color"`
			Max        *float64 `json:"max"`
			Thresholds struct {
				Steps []struct {
					Color string `json:"color"`
				} `json:"steps"`
			} `json:"thresholds"`
			Custom struct {
				AxisSoftMax float64 `json:"axisSoftMax"`
				Stacking    struct {
					Mode string `json:"mode"`
				} `json:"stacking"`
			} `json:"custom"`
		} `json:"defaults"`
		Overrides []struct {
			Matcher struct {
				ID      string `json:"id"`
				Options any    `json:"options"`
			} `json:"matcher"`
			Properties []Property `json:"properties"`
		} `json:"overrides"`
	} `json:"fieldConfig"`

	options json.RawMessage
}

// UnmarshalJSON reads a panel and keeps its options as they are.
func (p *Panel) UnmarshalJSON(body []byte) error {
	type plain Panel
	var raw struct {
		Options json.RawMessage `json:"options"`
	}
	if err := json.Unmarshal(body, (*plain)(p)); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return err
	}
	p.options = raw.Options
	return nil
}

// SortBy is a column by which a table is sorted.
type SortBy struct {
	DisplayName string `json:"displayName"`
	Desc        bool   `json:"desc"`
}

// Property is one option of a field.
type Property struct {
	ID    string          `json:"id"`
	Value json.RawMessage `json:"value"`
}

// Color is the colour of a field.
type Color struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor"`
}

// Organized returns the labels and values that a table renames or hides.
func (p Panel) Organized() map[string]bool {
	out := map[string]bool{}
	for _, t := range p.Transformations {
		if t.ID == "organize" {
			for name := range t.Options.RenameByName {
				out[name] = true
			}
			for name := range t.Options.ExcludeByName {
				out[name] = true
			}
		}
	}
	return out
}

// Target is one query of a panel.
type Target struct {
	RefID        string     `json:"refId"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat"`
	Instant      bool       `json:"instant"`
	Exemplar     bool       `json:"exemplar"`
	Datasource   Datasource `json:"datasource"`
}

// Parse reads a dashboard. It ignores fields that no rule uses.
func Parse(body []byte) (Dashboard, error) {
	d := Dashboard{body: body}
	if err := json.Unmarshal(body, &d); err != nil {
		return Dashboard{}, fmt.Errorf("parse dashboard: %w", err)
	}
	return d, nil
}

// AllPanels returns every panel and row, including panels in collapsed rows.
func (d Dashboard) AllPanels() []Panel {
	var out []Panel
	for _, panel := range d.Panels {
		out = append(append(out, panel), panel.Panels...)
	}
	return out
}

// Expand replaces Grafana's interval variables by unusual durations, so that an expression can be parsed and a rule can still recognize the
// variable. Variables in quoted matchers can be parsed without a value.
func Expand(expr string) string {
	return strings.NewReplacer(
		"$__rate_interval", rateInterval,
		"$__interval", interval,
		"$__range", timeRange,
	).Replace(expr)
}

const (
	rateInterval = "4m1s"
	interval     = "1m1s"
	timeRange    = "6h1s"
)
