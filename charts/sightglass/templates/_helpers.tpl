{{- /* Labels by which objects are found. The dot is a list: the root context and the name of the program. */ -}}
{{- define "sightglass.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/part-of: sightglass
{{- end -}}

{{- define "sightglass.labels" -}}
{{ include "sightglass.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- end -}}

{{- define "sightglass.name" -}}
{{ printf "%s-%s" (index . 0).Release.Name (index . 1) | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "sightglass.image" -}}
{{ (index . 0).Values.image.repository }}/{{ index . 1 }}:{{ (index . 0).Values.image.tag | default (index . 0).Chart.AppVersion }}
{{- end -}}

{{- /* What a container may not do. */ -}}
{{- define "sightglass.container.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "sightglass.probes" -}}
livenessProbe:
  httpGet: {path: /-/healthy, port: metrics}
  periodSeconds: 20
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /-/ready, port: metrics}
  periodSeconds: 10
  timeoutSeconds: 5
{{- end -}}
