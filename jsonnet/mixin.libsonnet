// The Sightglass mixin: the rules and dashboards of this repository as a library, to be changed by _config and not by
// editing. With the defaults it renders exactly the files in rules/ and dashboards/json.
(import 'config.libsonnet') +
{
  local config = $._config,
  local bundle = import 'generated/rules.json',
  local dashboards = import 'generated/dashboards.libsonnet',

  // jsonnet 0.18 has no std.all.
  local all(list) = std.foldl(function(yes, one) yes && one, list, true),

  // A misspelled name would change nothing and say nothing.
  local check(where, given, known) =
    local unknown = [name for name in given if !std.member(known, name)];
    if unknown == [] then true
    else error '_config%s has the unknown %s; known are %s' % [where, std.join(', ', unknown), std.join(', ', known)],

  local thresholdPrefix = 'ml:threshold:',
  local alerts = [rule for group in bundle.alerts for rule in group.rules],
  local alertKeys(rule) = [rule.alert, '%s/%s' % [rule.alert, rule.labels.severity]],
  local alertNames = std.set(std.flatMap(alertKeys, alerts)),

  local valid =
    check('', std.objectFields(config), std.objectFields((import 'config.libsonnet')._config)) &&
    check('.dashboards', std.objectFields(config.dashboards), std.objectFields((import 'config.libsonnet')._config.dashboards)) &&
    check('.thresholds', std.objectFields(config.thresholds), [
      std.strReplace(rule.record, thresholdPrefix, '')
      for group in bundle.thresholds
      for rule in group.rules
    ]) &&
    check('.disabledAlerts', config.disabledAlerts, alertNames) &&
    check('.alerts', std.objectFields(config.alerts), alertNames) &&
    check('.groupIntervals', std.objectFields(config.groupIntervals), [group.name for group in bundle.thresholds + bundle.rules + bundle.alerts]) &&
    check('.disabledGroups', config.disabledGroups, [group.name for group in bundle.rules]) &&
    all([
      check('.alerts[%s]' % name, std.objectFields(config.alerts[name]), ['severity', 'for', 'keep_firing_for', 'labels', 'annotations'])
      for name in std.objectFields(config.alerts)
    ]),

  // The label owner ends every list of labels of an object: rules.Carry.
  local carry(expr) =
    if config.objectLabels == [] then expr
    else std.strReplace(expr, 'owner)', std.join(', ', ['owner'] + config.objectLabels) + ')'),

  // Every selector of a series that no rule records holds the token.
  local token = 'sightglass_selector=""',
  local select(rule) = rule {
    expr: carry(
      if config.selector == '' then
        std.strReplace(std.strReplace(super.expr, '{' + token + '}', ''), ', ' + token, '')
      else
        std.strReplace(super.expr, token, config.selector)
    ),
  },

  local patchThreshold(rule) =
    local signal = std.strReplace(rule.record, thresholdPrefix, '');
    if !std.objectHas(config.thresholds, signal) then rule
    else if !std.isNumber(config.thresholds[signal]) then error '_config.thresholds.%s must be a number' % signal
    else rule { expr: 'vector(%s)' % config.thresholds[signal] },

  local patchAlert(rule) =
    local patches = [config.alerts[key] for key in alertKeys(rule) if std.objectHas(config.alerts, key)];
    local linked = rule {
      labels+: config.extraLabels,
      annotations+: {
        dashboard: config.grafanaURL + super.dashboard,
        runbook_url: '%s/%s.md' % [config.runbookURL, rule.alert],
      },
    };
    std.foldl(function(patched, patch) patched {
      labels+: (if std.objectHas(patch, 'severity') then { severity: patch.severity } else {}) +
               (if std.objectHas(patch, 'labels') then patch.labels else {}),
      annotations+: if std.objectHas(patch, 'annotations') then patch.annotations else {},
    } + {
      [field]: patch[field]
      for field in ['for', 'keep_firing_for']
      if std.objectHas(patch, field)
    }, patches, linked),

  local enabled(rule) = all([!std.member(config.disabledAlerts, key) for key in alertKeys(rule)]),

  local timed(group) = group + (
    if std.objectHas(config.groupIntervals, group.name) then { interval: config.groupIntervals[group.name] } else {}
  ),

  local labelled(rule) = rule + (if config.recordLabels == {} then {} else { labels+: config.recordLabels }),

  prometheusRules+:: {
    assert valid,
    groups+: [
      timed(group) { rules: std.map(patchThreshold, super.rules) }
      for group in bundle.thresholds
    ] + [
      timed(group) { rules: [labelled(select(rule)) for rule in super.rules] }
      for group in bundle.rules
      if !std.member(config.disabledGroups, group.name)
    ],
  },

  prometheusAlerts+:: {
    assert valid,
    groups+: [
      group
      for group in [
        timed(group) { rules: [patchAlert(select(rule)) for rule in super.rules if enabled(rule)] }
        for group in bundle.alerts
      ]
      if group.rules != []
    ],
  },

  grafanaDashboards+:: {
    assert valid,
  } + {
    [file]: dashboards[file] {
      title: config.dashboards.titlePrefix + super.title,
      tags+: config.dashboards.extraTags,
    } + config.dashboards.patch
    for file in std.objectFields(dashboards)
  },
}
