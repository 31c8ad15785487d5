package modelquality

import "github.com/sightglass-ml/sightglass/internal/config"

// DatasetLink names a dataset of the data-quality exporter that a model is trained on or served from. The default of cluster and namespace
// is the model's, so that a dataset in staging never holds back a model in production.
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
