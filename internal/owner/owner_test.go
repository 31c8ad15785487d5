package owner

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/catalogue"
	"github.com/sightglass-ml/sightglass/internal/config"
)

func TestOwnersAndLabels(t *testing.T) {
	for sentence, tc := range map[string]struct{ text, problem string }{
		"an owner alone":                          {"owner: payments", ""},
		"an owner may be an address":              {"owner: data-team@example.com", ""},
		"letters of any language":                 {"owner: Équipe fraude", ""},
		"labels alone":                            {"labels: {tier: gold, cost_centre: '4711'}", ""},
		"an owner that is empty":                  {"owner: ''", "f.yaml:1: owner: empty; want a value, or not this key"},
		"an owner of two lines":                   {`owner: "a\nb"`, `f.yaml:1: owner: "a\nb" has a character that cannot be printed; want text in one line`},
		"an owner that turns the text around":     {`owner: "a\u202eb"`, `f.yaml:1: owner: "a\u202eb" has a character that cannot be printed; want text in one line`},
		"an owner without end":                    {"owner: " + strings.Repeat("é", 129), "f.yaml:1: owner: 129 characters; want 128 or fewer"},
		"a label of our own":                      {"owner: a\nlabels:\n  severity: critical", `f.yaml:2: labels: "severity" is a label that Sightglass or Prometheus sets itself; want another name, such as "team_severity"`},
		"a label of the scrape":                   {"labels: {instance: a}", `f.yaml:1: labels: "instance" is a label that Sightglass or Prometheus sets itself; want another name, such as "team_instance"`},
		"the owner once more":                     {"labels: {owner: a}", `f.yaml:1: labels: "owner" is a label that Sightglass or Prometheus sets itself; want another name, such as "team_owner"`},
		"a name with a hyphen":                    {"labels: {cost-centre: a}", `f.yaml:1: labels: "cost-centre" is not the name of a label; want a letter, then letters, digits and underscores, 40 characters at most`},
		"a name that Prometheus keeps for itself": {"labels: {__name__: a}", `f.yaml:1: labels: "__name__" is not the name of a label; want a letter, then letters, digits and underscores, 40 characters at most`},
		"a value that is empty":                   {"labels: {tier: ''}", "f.yaml:1: labels.tier: empty; want a value, or not this key"},
		"nine labels":                             {"labels: {a: x, b: x, c: x, d: x, e: x, f: x, g: x, h: x, i: x}", "f.yaml:1: labels: 9 labels; want 8 or fewer, since each is on every alert about the object"},
	} {
		t.Run(sentence, func(t *testing.T) {
			var o Owned
			err := config.Decode("f.yaml", []byte(tc.text), &o)
			if tc.problem == "" {
				require.NoError(t, err)
				return
			}
			require.EqualError(t, err, tc.problem)
		})
	}
}

type collector []prometheus.Metric

func (collector) Describe(chan<- *prometheus.Desc) {}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c {
		ch <- m
	}
}

func TestObjectsOfOneExporterMayHaveDifferentLabels(t *testing.T) {
	info := Declare(&catalogue.Catalogue{Prefix: "ml_dataset_", Labels: []string{"dataset"}}, "owner_info", "dataset")
	require.Nil(t, info.Metric("nobody's", Owned{}))
	require.NoError(t, testutil.CollectAndCompare(collector{
		info.Metric("orders", Owned{Owner: "payments"}),
		info.Metric("clicks", Owned{Owner: "web", Labels: map[string]string{"tier": "gold", "product": "shop"}}),
		info.Metric("stock", Owned{Labels: map[string]string{"tier": "lead"}}),
	}, strings.NewReader(`
# HELP ml_dataset_owner_info The owner of the dataset in the configuration, and its free labels, each a label of its own.
# TYPE ml_dataset_owner_info gauge
ml_dataset_owner_info{dataset="clicks",owner="web",product="shop",tier="gold"} 1
ml_dataset_owner_info{dataset="orders",owner="payments"} 1
ml_dataset_owner_info{dataset="stock",owner="",tier="lead"} 1
`)))
}
