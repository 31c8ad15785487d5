package action

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/config"
)

func TestPrometheusIsAskedForTheLastGoodSnapshot(t *testing.T) {
	for name, tc := range map[string]struct{ dataset, series, want, wrong string }{
		"one that all replicas tell": {"orders", `{"metric":{"snapshot":"v41"},"value":[1,"1"]}`, "v41", ""},
		"none":                       {"orders", "", "", ""},
		"two, of which neither is known to be right": {
			"orders", `{"metric":{"snapshot":"v41"},"value":[1,"1"]},{"metric":{"snapshot":"v7"},"value":[1,"1"]}`, "", `there are 2, such as "v41" and "v7"`,
		},
		"of a dataset whose name is a query": {`x"} or vector(1) #`, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var asked string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.FormValue("query")
				_, _ = fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, tc.series)
			}))
			t.Cleanup(server.Close)
			var c PrometheusConfig
			require.NoError(t, config.Decode("c.yaml", []byte("{url: "+server.URL+"}"), &c))
			snapshots, err := PrometheusSnapshots(c)
			require.NoError(t, err)
			got, err := snapshots.LastGood(t.Context(), tc.dataset, "prod.east", "ml")
			require.Equal(t, fmt.Sprintf(`group by (snapshot) (ml_dataset_last_good_snapshot_info{dataset=%q,cluster=~"|prod\\.east",namespace=~"|ml"})`, tc.dataset), asked)
			if tc.wrong != "" {
				require.ErrorContains(t, err, tc.wrong)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}
