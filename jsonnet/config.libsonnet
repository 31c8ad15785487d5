// What a user of the mixin can choose, with the defaults. Every name is checked: one that does not exist is an error.
{
  _config+:: {
    // Default thresholds to change, by signal: { null_ratio: 0.02 }. The defaults and what they mean stand in
    // rules/thresholds.yaml. An exporter's override for one dataset or column still wins.
    thresholds: {},

    // Alerts to leave out, by name, or by name and severity where there are two: ['MLDatasetNullRatioHigh/critical'].
    disabledAlerts: [],

    // Changes to single alerts, by the same names: { MLDatasetDrift: { severity: 'info', 'for': '15m' } }. Possible are
    // severity, for, keep_firing_for, labels and annotations.
    alerts: {},

    // Labels for every alert: { team: 'ml-platform' }.
    extraLabels: {},

    // Free labels of datasets and models that their alerts get beside the label owner: ['tier']. They are labels in the exporters'
    // configuration.
    objectLabels: [],

    // A matcher, or several with commas, that restricts every rule to some of the series: 'environment="production"'.
    selector: '',

    // Intervals of groups to change, by name: { 'sightglass.data.drift': '2m' }. Every group states one.
    groupIntervals: {},

    // Groups of recording rules to leave out, such as the adapters of servers that nobody runs: ['sightglass.adapters.vllm'].
    disabledGroups: [],

    // Labels for every recorded series: { environment: 'production' }. Thresholds keep none, as they hold for all.
    recordLabels: {},

    // Windows of what is read from scrapes, by the one in the rules: { '5m': '10m' }, where targets are scraped every two minutes. A
    // rate needs four scrapes. Only these windows change: names of series keep theirs, and so do windows over recorded series.
    windows: {},

    // Where the runbooks are, without a slash at the end.
    runbookURL: 'https://github.com/sightglass-ml/sightglass/blob/main/docs/runbooks',

    // Put in front of the dashboard's path in the annotation, for Alertmanager templates other than ours, which know
    // Grafana's address: 'https://grafana.example.com'.
    grafanaURL: '',

    dashboards: {
      titlePrefix: '',
      extraTags: [],
      // Where the links of tables lead: addresses of MLflow and of the runbooks (those of runbookURL by default), and the uid of the
      // Tempo data source.
      mlflowURL: 'https://mlflow.example.com',
      runbookURL: '',
      tempoUID: 'tempo',
      // Links at the top of every dashboard, after those to the others: [{ title: 'Wiki', url: 'https://wiki.example.com' }].
      links: [],
      timezone: 'browser',
      // Merged into every dashboard: { timezone: 'utc', refresh: '1m' }.
      patch: {},
    },
  },
}
