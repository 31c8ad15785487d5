package baseline

import (
	"maps"
	"slices"
	"strings"

	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// required are the keys without which a provider of objstore cannot be opened or finds nothing. Keys that can come from the environment
// are not included.
var required = map[string][]string{
	string(objstore.FILESYSTEM): {"directory"},
	string(objstore.S3):         {"bucket", "endpoint"},
	string(objstore.GCS):        {"bucket"},
	string(objstore.AZURE):      {"storage_account", "container"},
	string(objstore.SWIFT):      {"container_name"},
	string(objstore.COS):        {"secret_id", "secret_key"},
	string(objstore.ALIYUNOSS):  {"bucket", "endpoint", "access_key_id", "access_key_secret"},
	string(objstore.BOS):        {"bucket", "endpoint", "access_key", "secret_key"},
	string(objstore.OCI):        {"provider", "bucket", "compartment_ocid"},
	string(objstore.OBS):        {"bucket", "endpoint", "access_key", "secret_key"},
}

// Validate implements config.Validator. An empty configuration is valid; a caller that needs one checks for it. The default directory
// is the folder of the state.
func (c *Config) Validate(at config.At) {
	if c.Type == "" {
		if c.Config != nil || c.Prefix != "" {
			at.Errorf("type", "missing; want one of %s", strings.Join(slices.Sorted(maps.Keys(required)), ", "))
		}
		return
	}
	keys, known := required[strings.ToUpper(c.Type)]
	if !known {
		at.Errorf("type", "%q; want one of %s", c.Type, strings.Join(slices.Sorted(maps.Keys(required)), ", "))
		return
	}
	folder := strings.EqualFold(c.Type, string(objstore.FILESYSTEM))
	if folder && c.Config["directory"] == nil {
		// A file that contains only the type means the folder of the state.
		c.Config = map[string]any{"directory": at.State("config.directory", "baselines")}
	}
	for _, key := range keys {
		if text, _ := c.Config[key].(string); text == "" {
			at.Errorf("config."+key, "missing; type %s needs config with %s", strings.ToUpper(c.Type), strings.Join(keys, ", "))
		}
	}
	if folder {
		if dir, ok := c.Config["directory"].(string); ok && dir != "" {
			// As for every path of the file. Nothing else refers to the map yet.
			c.Config["directory"] = at.Resolve(dir)
		}
	}
}

// Folder returns the local folder of the store, or an empty string.
func (s *Store) Folder() string {
	if s.folder == nil {
		return ""
	}
	return s.folder.root
}
