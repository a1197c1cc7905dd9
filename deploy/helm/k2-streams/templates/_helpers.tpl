{{- define "k2.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "k2.selector" -}}
app.kubernetes.io/name: k2-streams
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "k2.labels" -}}
{{ include "k2.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}
