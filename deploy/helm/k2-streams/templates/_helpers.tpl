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

{{- /* Of the pods of one kind: of "root" the "component", worker or query. */}}
{{- define "k2.podSelector" -}}
{{ include "k2.selector" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* A pod of "root": of which "component", "start"ed how, with which "role". */}}
{{- define "k2.pod" -}}
{{- $root := .root -}}
metadata:
  labels:
    {{- include "k2.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
spec:
  serviceAccountName: {{ include "k2.name" $root }}
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 10001
    runAsGroup: 10001
    fsGroup: 10001
    seccompProfile: {type: RuntimeDefault}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: topology.kubernetes.io/zone
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels: {{- include "k2.podSelector" . | nindent 10 }}
  containers:
    - name: {{ .component }}
      image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [/bin/sh, -c]
      args:
        - |
          {{- .start | nindent 10 }}
          exec faust -A {{ $root.Values.topology }} worker -l info
      env:
        - {name: K2_WEB_HOST, value: 0.0.0.0}
        - {name: K2_LOG_FORMAT, value: json}
        - {name: K2_DATA_DIR, value: /var/lib/k2}
        - {name: K2_ROLE, value: {{ .role }}}
        {{- range $name, $value := merge (.settings | default dict) $root.Values.settings }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
        {{- range $name, $key := $root.Values.secretFiles }}
        - {name: {{ $name }}_FILE, value: /run/secrets/k2/{{ $key }}}
        {{- end }}
      ports:
        - {name: web, containerPort: {{ $root.Values.port }}}
      startupProbe:
        httpGet: {path: /health/ready, port: web}
        {{- toYaml $root.Values.probes.startup | nindent 8 }}
      readinessProbe:
        httpGet: {path: /health/ready, port: web}
        {{- toYaml $root.Values.probes.readiness | nindent 8 }}
      livenessProbe:
        httpGet: {path: /health/live, port: web}
        {{- toYaml $root.Values.probes.liveness | nindent 8 }}
      resources: {{- toYaml .resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: data, mountPath: /var/lib/k2}
        - {name: tmp, mountPath: /tmp}
        - {name: secrets, mountPath: /run/secrets/k2, readOnly: true}
  volumes:
    - {name: tmp, emptyDir: {}}
    - name: secrets
      secret: {secretName: {{ $root.Values.secret }}, defaultMode: 0440}
    {{- if not .claimed }}
    - {name: data, emptyDir: {}}
    {{- end }}
  {{- with $root.Values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $root.Values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
