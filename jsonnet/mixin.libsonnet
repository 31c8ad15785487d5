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
    check('.windows', std.objectFields(config.windows), ['5m', '10m', '15m', '1h', '1d']) &&
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

  // Seconds of a duration such as 90s, 10m, 2h or 1d.
  local units = { s: 1, m: 60, h: 3600, d: 86400 },
  local seconds(text) =
    local number = std.substr(text, 0, std.length(text) - 1), unit = std.substr(text, std.length(text) - 1, 1);
    if std.length(text) > 1 && std.objectHas(units, unit) && std.length([c for c in std.stringChars(number) if c < '0' || c > '9']) == 0 && std.parseInt(number) > 0
    then std.parseInt(number) * units[unit]
    else error '_config.windows has %s; want a duration such as 90s, 10m or 2h' % text,

  // Every selector of a series that no rule records holds the token.
  local token = 'sightglass_selector=""',
  // What is read from scrapes has the token before its window. A change of a gauge is divided by its window to be one a second.
  local widen(expr) = std.foldl(
    function(text, window)
      local to = config.windows[window];
      std.strReplace(
        std.strReplace(
          text, '%s}[%s]) / %d' % [token, window, seconds(window)], '%s}[%s]) / %d' % [token, '=' + to, seconds(to)]
        ),
        '%s}[%s]' % [token, window],
        '%s}[%s]' % [token, '=' + to]
      ),
    std.objectFields(config.windows),
    expr
  ),
  // The sign keeps a window that was changed from being changed again.
  local settle(expr) = std.strReplace(expr, token + '}[=', token + '}['),

  local select(rule) = rule {
    local expr = if config.windows == {} then super.expr else settle(widen(super.expr)),
    expr: carry(
      if config.selector == '' then
        std.strReplace(std.strReplace(expr, '{' + token + '}', ''), ', ' + token, '')
      else
        std.strReplace(expr, token, config.selector)
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

  // The hidden variables that links of dashboards begin with.
  local addresses = {
    mlflow: config.dashboards.mlflowURL,
    runbooks: if config.dashboards.runbookURL == '' then config.runbookURL else config.dashboards.runbookURL,
    tempo: config.dashboards.tempoUID,
  },

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
      timezone: config.dashboards.timezone,
      links+: [link { type: 'link', targetBlank: true, icon: 'external link', asDropdown: false, includeVars: false, keepTime: false, tags: [], tooltip: '' } for link in config.dashboards.links],
      templating+: {
        list: [
          variable + (if std.objectHas(addresses, variable.name) then { query: addresses[variable.name] } else {})
          for variable in super.list
        ],
      },
    } + config.dashboards.patch
    for file in std.objectFields(dashboards)
  },
}
