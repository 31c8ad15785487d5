package modelquality

import "github.com/sightglass-ml/sightglass/internal/config"

// DatasetLink names a dataset of the data-quality exporter that a model is trained on or fed by. Without a cluster and a
// namespace it is where the model is, so that a dataset of staging never holds back a model of production.
type DatasetLink struct {
	Name      string `yaml:"name"`
	Cluster   string `yaml:"cluster,omitempty"`
	Namespace string `yaml:"namespace,omitempty"`
}

// Validate implements config.Validator.
func (d *DatasetLink) Validate(at config.At) {
	if d.Name == "" {
		at.Errorf("name", "missing; want the name of a dataset, the value of its label dataset")
	}
	if d.Cluster != "" && d.Namespace == "" {
		at.Errorf("namespace", "missing beside cluster; want the label namespace of the dataset's series")
	}
}
