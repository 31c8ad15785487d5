package baseline

import (
	"maps"
	"slices"
	"strings"

	"github.com/thanos-io/objstore"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// required are the keys without which a provider of objstore cannot be opened, or
// finds nothing. Keys that the environment can give instead are not among them.
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

// Validate implements config.Validator. A configuration without any key stands
// for none; whoever needs one says so. A folder is that of the state by default.
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
		// A file that names the type alone means the folder of the state.
		c.Config = map[string]any{"directory": at.State("config.directory", "baselines")}
	}
	for _, key := range keys {
		if text, _ := c.Config[key].(string); text == "" {
			at.Errorf("config."+key, "missing; type %s needs config with %s", strings.ToUpper(c.Type), strings.Join(keys, ", "))
		}
	}
	if folder {
		if dir, ok := c.Config["directory"].(string); ok && dir != "" {
			// Like every path of the file; the map is shared by nobody yet.
			c.Config["directory"] = at.Resolve(dir)
		}
	}
}

// Folder is the local folder of the store, or empty.
func (s *Store) Folder() string {
	if s.folder == nil {
		return ""
	}
	return s.folder.root
}
