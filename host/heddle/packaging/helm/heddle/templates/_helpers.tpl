{{- define "heddle.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "heddle.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "heddle.name" .) .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "heddle.name" .) | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "heddle.selector" -}}
app.kubernetes.io/name: {{ include "heddle.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "heddle.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "heddle.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "heddle.metadata" -}}
name: {{ include "heddle.fullname" . }}
namespace: {{ .Release.Namespace }}
labels:
  {{- include "heddle.labels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "heddle.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}
{{- end }}

{{- define "heddle.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "heddle.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "heddle.configMap" -}}
{{- if .Values.config.existingConfigMap }}
{{- .Values.config.existingConfigMap }}
{{- else }}
{{- if not .Values.config.heddleToml }}
{{- fail "the application is missing: give its file with --set-file config.heddleToml=heddle.toml, or name a ConfigMap in config.existingConfigMap" }}
{{- end }}
{{- include "heddle.fullname" . }}
{{- end }}
{{- end }}

{{- /* What the host and the test of the chart have in common: image, settings, files. */ -}}
{{- define "heddle.container" -}}
image: {{ include "heddle.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
env:
  - name: HEDDLE_CONFIG
    value: /etc/heddle/heddle.toml
  - name: HEDDLE_CACHE
    value: /var/cache/heddle/artifacts
  - name: HEDDLE_LOG_FORMAT
    value: {{ .Values.log.format }}
  {{- with .Values.log.filter }}
  - name: HEDDLE_LOG
    value: {{ . | quote }}
  {{- end }}
  {{- if .Values.nats.urlSecret.name }}
  - name: HEDDLE_NATS_URL
    valueFrom:
      secretKeyRef:
        name: {{ .Values.nats.urlSecret.name }}
        key: {{ .Values.nats.urlSecret.key }}
  {{- else if .Values.nats.url }}
  - name: HEDDLE_NATS_URL
    value: {{ .Values.nats.url | quote }}
  {{- end }}
  {{- if .Values.registryLoginSecret }}
  - name: DOCKER_CONFIG
    value: /run/secrets/heddle-registry
  {{- end }}
  {{- range .Values.secrets.env }}
  - name: {{ .name }}
    valueFrom:
      secretKeyRef:
        name: {{ .secretName }}
        key: {{ .key }}
  {{- end }}
  {{- with .Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumeMounts:
  # The whole folder: a file mounted with subPath would never change.
  - name: config
    mountPath: /etc/heddle
    readOnly: true
  - name: cache
    mountPath: /var/cache/heddle
  - name: tmp
    mountPath: /tmp
  {{- range .Values.secrets.files }}
  - name: secret-{{ .name }}
    mountPath: /run/secrets/heddle/{{ .name }}
    readOnly: true
  {{- end }}
  {{- if .Values.registryLoginSecret }}
  - name: registry-login
    mountPath: /run/secrets/heddle-registry
    readOnly: true
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{- define "heddle.volumes" -}}
- name: config
  configMap:
    name: {{ include "heddle.configMap" . }}
- name: cache
  emptyDir:
    sizeLimit: {{ .Values.cache.sizeLimit }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmp.sizeLimit }}
{{- range .Values.secrets.files }}
- name: secret-{{ .name }}
  secret:
    secretName: {{ .secretName }}
    # Readable by the group of the host alone.
    defaultMode: 0440
    {{- with .items }}
    items:
      {{- toYaml . | nindent 6 }}
    {{- end }}
{{- end }}
{{- with .Values.registryLoginSecret }}
- name: registry-login
  secret:
    secretName: {{ . }}
    defaultMode: 0440
    items:
      - key: .dockerconfigjson
        path: config.json
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}
