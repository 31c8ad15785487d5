package convention

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

func TestOriginOfAnInference(t *testing.T) {
	ours := attrs("ml.model.name", "fraud")
	pod := attrs("cloud.region", "ca-1", "k8s.pod.name", "scorer-0", "service.instance.id", "9f3c", "host.name", "node-7")
	for name, tc := range map[string]struct {
		resource, span []otlp.Attribute
		want           *Origin
	}{
		"no attribute":                     {nil, ours, nil},
		"the resource":                     {pod, ours, &Origin{Region: "ca-1", Instance: "scorer-0"}},
		"the span, and the rest from it":   {pod, append(ours, attrs("ml.client", "partner", "ml.region", "eu-1")...), &Origin{"eu-1", "partner", "scorer-0"}},
		"a number":                         {nil, append(ours, attrs("ml.instance", 3)...), &Origin{Instance: "3"}},
		"the host, where there is no more": {attrs("host.name", "node-7"), ours, &Origin{Instance: "node-7"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := read(t, tc.resource, otlp.Span{Attributes: tc.span})
			require.Len(t, b.Observations, 1)
			require.Equal(t, tc.want, b.Observations[0].Origin)
		})
	}
}

// A pod's name does not make a span of its web server an inference.
func TestOriginAttributesAloneAreNoInference(t *testing.T) {
	b := read(t, attrs("ml.model.name", "fraud", "k8s.pod.name", "scorer-0"), otlp.Span{Attributes: attrs("http.route", "/", "ml.region", "ca-1")})
	require.Empty(t, b.Observations)
}
