// Package charts tests the Helm chart with helm itself.
package charts_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"

	"github.com/sightglass-ml/sightglass/bundle"
	"github.com/sightglass-ml/sightglass/internal/testtools"
)

const everything = `
podLabels: {team: ml}
podAnnotations: {note: kept}
image: {pullSecrets: [{name: registry}]}
dataquality:
  enabled: true
  config: {sources: {files: {type: duckdb}}, datasets: [], baseline_store: {type: FILESYSTEM, config: {directory: /var/lib/sightglass}}}
  env: [{name: WAREHOUSE_DSN, valueFrom: {secretKeyRef: {name: warehouse, key: dsn}}}]
  secrets: dataquality
modelquality: {enabled: true, config: {otlp: {grpc: {endpoint: ':4317'}}}, replicas: 2, persistence: {enabled: false}}
cost: {enabled: true, config: {state: /var/lib/sightglass/cost.json}, args: [--log.format=json]}
responder: {enabled: true, config: {store: {path: /var/lib/sightglass/responder.db}}, persistence: {storageClass: fast}}
`

func helm(t *testing.T, values string, args ...string) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	require.NoError(t, os.WriteFile(file, []byte(values), 0o600))
	command := exec.CommandContext(t.Context(), testtools.Path(t, "helm"), append(args, "--values", file)...)
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	output, err := command.CombinedOutput()
	return string(output), err
}

// object is a rendered object, read by the types of Kubernetes, which know every field of it.
type object struct {
	kind     string
	name     string
	labels   map[string]string
	pod      *corev1.PodTemplateSpec
	selector map[string]string
}

func render(t *testing.T, values string) []object {
	t.Helper()
	output, err := helm(t, values, "template", "ml", "sightglass", "--namespace", "monitoring", "--kube-version", "1.30.0")
	require.NoError(t, err, output)
	var out []object
	for _, text := range strings.Split(output, "\n---\n") {
		var head struct {
			Kind     string `json:"kind"`
			Metadata struct {
				Name   string            `json:"name"`
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
		}
		require.NoError(t, yaml.Unmarshal([]byte(text), &head), text)
		if head.Kind == "" {
			continue
		}
		o := object{kind: head.Kind, name: head.Metadata.Name, labels: head.Metadata.Labels}
		read := func(into any) { require.NoError(t, yaml.UnmarshalStrict([]byte(text), into), text) }
		switch head.Kind {
		case "Deployment":
			var d appsv1.Deployment
			read(&d)
			o.pod, o.selector = &d.Spec.Template, d.Spec.Selector.MatchLabels
		case "DaemonSet":
			var d appsv1.DaemonSet
			read(&d)
			o.pod, o.selector = &d.Spec.Template, d.Spec.Selector.MatchLabels
		case "Service":
			var s corev1.Service
			read(&s)
			o.selector = s.Spec.Selector
		case "ConfigMap":
			read(&corev1.ConfigMap{})
		case "PersistentVolumeClaim":
			read(&corev1.PersistentVolumeClaim{})
		case "NetworkPolicy":
			read(&networkingv1.NetworkPolicy{})
		default:
			t.Fatalf("the chart has a %s, which this test does not know", head.Kind)
		}
		out = append(out, o)
	}
	return out
}

func TestLint(t *testing.T) {
	for name, values := range map[string]string{"defaults": "", "everything": everything} {
		output, err := helm(t, values, "lint", "sightglass", "--strict")
		require.NoError(t, err, "%s: %s", name, output)
	}
}

func TestTheDefaultIsTheGPUExporterAlone(t *testing.T) {
	kinds := map[string]int{}
	for _, o := range render(t, "") {
		kinds[o.kind]++
	}
	require.Equal(t, map[string]int{"DaemonSet": 1, "NetworkPolicy": 1}, kinds)
}

func TestPodsAskForNoMoreThanTheyNeed(t *testing.T) {
	pods := 0
	for _, o := range render(t, everything) {
		if o.pod == nil {
			continue
		}
		pods++
		spec := o.pod.Spec
		require.False(t, *spec.AutomountServiceAccountToken, o.name)
		require.True(t, *spec.SecurityContext.RunAsNonRoot, o.name)
		require.EqualValues(t, 65534, *spec.SecurityContext.RunAsUser, o.name)
		require.Equal(t, "registry", spec.ImagePullSecrets[0].Name, o.name)
		require.Equal(t, "ml", o.pod.Labels["team"], o.name)
		require.Equal(t, "kept", o.pod.Annotations["note"], o.name)
		for key, value := range o.selector {
			require.Equal(t, value, o.pod.Labels[key], o.name)
		}
		container := spec.Containers[0]
		require.True(t, *container.SecurityContext.ReadOnlyRootFilesystem, o.name)
		require.False(t, *container.SecurityContext.AllowPrivilegeEscalation, o.name)
		require.Equal(t, []corev1.Capability{"ALL"}, container.SecurityContext.Capabilities.Drop, o.name)
		require.NotNil(t, container.LivenessProbe, o.name)
		require.NotNil(t, container.ReadinessProbe, o.name)
		require.False(t, container.Resources.Requests.Memory().IsZero(), o.name)
		require.False(t, container.Resources.Limits.Memory().IsZero(), o.name)
		for _, mount := range container.VolumeMounts {
			require.True(t, mount.ReadOnly || mount.MountPath == "/var/lib/sightglass", "%s may write to %s", o.name, mount.MountPath)
		}
		for _, volume := range spec.Volumes {
			require.True(t, volume.HostPath == nil || o.kind == "DaemonSet", "%s mounts a folder of the host", o.name)
		}
	}
	require.Equal(t, 5, pods)
}

// The selectors of the bundle's monitors must match the objects of the chart.
func TestMonitorsOfTheBundleSelectEveryProgram(t *testing.T) {
	objects := render(t, everything)
	files, err := bundle.Render(bundle.Options{Rules: "prometheus-operator"})
	require.NoError(t, err)
	monitors := 0
	for name, content := range files {
		var monitor struct {
			Kind string `json:"kind"`
			Spec struct {
				Selector struct {
					MatchLabels map[string]string `json:"matchLabels"`
				} `json:"selector"`
			} `json:"spec"`
		}
		if !strings.HasPrefix(name, "scrape/") {
			continue
		}
		require.NoError(t, yaml.Unmarshal(content, &monitor))
		kind, ok := map[string]string{"ServiceMonitor": "Service", "PodMonitor": "DaemonSet"}[monitor.Kind]
		if !ok {
			continue
		}
		monitors++
		found := 0
		for _, o := range objects {
			labels := o.labels
			if o.pod != nil {
				labels = o.pod.Labels
			}
			if o.kind == kind && contains(labels, monitor.Spec.Selector.MatchLabels) {
				found++
			}
		}
		require.Equal(t, 1, found, name)
	}
	require.Equal(t, 5, monitors)
}

func contains(labels, wanted map[string]string) bool {
	for key, value := range wanted {
		if labels[key] != value {
			return false
		}
	}
	return true
}

func TestInvalidValuesAreRefused(t *testing.T) {
	for values, message := range map[string]string{
		"cost: {enabled: true}": "cost.enabled needs cost.config: the configuration file of cost-exporter",
		"responder: {enabled: true, replicas: 2, config: {store: {}}}": "responder.replicas is 2, and one volume is written by one pod",
	} {
		output, err := helm(t, values, "template", "ml", "sightglass", "--kube-version", "1.30.0")
		require.Error(t, err)
		require.Contains(t, output, message)
	}
}

func TestEveryProgramHasItsStateFolderAndTheTimeZone(t *testing.T) {
	found := 0
	for _, o := range render(t, "timeZone: America/Toronto\n"+everything) {
		if o.pod == nil || strings.Contains(o.name, "gpu") {
			continue // The GPU exporter keeps nothing, and knows no days.
		}
		found++
		env := map[string]string{}
		for _, e := range o.pod.Spec.Containers[0].Env {
			env[e.Name] = e.Value
		}
		require.Equal(t, "/var/lib/sightglass", env["STATE_DIRECTORY"], o.name)
		require.Equal(t, "America/Toronto", env["SIGHTGLASS_TIME_ZONE"], o.name)
	}
	require.Equal(t, 4, found)
}
