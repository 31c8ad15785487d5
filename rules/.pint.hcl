# pint judges the rules as text (`pint --offline`); what a server knows, the tests ask promtool and Prometheus.

checks {
  disabled = [
    # Tiers are the design: thresholds, signals and alerts are groups of their own so that each can be replaced. The
    # price, one interval of delay, is stated in signals/data.yaml.
    "rule/dependency",
  ]
}
