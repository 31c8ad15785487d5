package modelquality

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/receiver"
	"github.com/sightglass-ml/sightglass/internal/exporter/exportertest"
)

// For every request, the answer is valid in OTLP, the request is counted, and the metrics page stays valid.
func FuzzEndpoint(f *testing.F) {
	w := newWorld(f, "limits: {models: 5, versions: 5, exception_types: 5, features: 5, evaluations: 5, details: 20}\n")
	body := traces(f, attributes{"ml.model.name": "m"}, span{trace: 1, id: 1, took: time.Second, attrs: fraud(attributes{
		"ml.prediction": true, "ml.feature.a": 1, "ml.feature_time.a": 1.7e9, "mlflow.chat.tokenUsage": `{"input_tokens": 1}`,
	}), events: []event{{evaluationResult, 0, attributes{"gen_ai.evaluation.name": "groundedness"}}, {"exception", 0, attributes{"exception.type": "E"}}}})
	request := ptraceotlp.NewExportRequest()
	require.NoError(f, request.UnmarshalProto(body))
	text, err := request.MarshalJSON()
	require.NoError(f, err)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(body)
	require.NoError(f, err)
	require.NoError(f, z.Close())
	const proto, jsonType = "application/x-protobuf", "application/json"
	f.Add(true, proto, "", body)
	f.Add(true, jsonType, "", text)
	f.Add(true, proto, "gzip", zipped.Bytes())
	f.Add(false, proto, "", logs(f, record{trace: 1, span: 1, event: evaluationResult, attrs: attributes{"gen_ai.evaluation.name": "x", "gen_ai.evaluation.score.label": "fail"}}))
	f.Add(false, jsonType+"; charset=utf-8", "", []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"eventName":"gen_ai.evaluation.result","traceId":"x"}]}]}]}`))
	f.Add(true, "text/plain", "br", []byte("hello"))
	routes := w.receiver.Routes()
	known := []int{http.StatusOK, http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType}
	n := 0
	f.Fuzz(func(t *testing.T, isTrace bool, contentType, encoding string, body []byte) {
		path := "/v1/logs"
		if isTrace {
			path = "/v1/traces"
		}
		req := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Content-Encoding", encoding)
		answer := httptest.NewRecorder()
		routes.ServeHTTP(answer, req)
		require.True(t, slices.Contains(known, answer.Code), "%d: %s", answer.Code, answer.Body)
		if answer.Header().Get("Content-Type") == jsonType {
			require.True(t, json.Valid(answer.Body.Bytes()), "%s", answer.Body)
		}
		if n++; n%1000 == 0 {
			exportertest.Gather(t, w.Exporter)
		}
	})
}

// Attributes of any name, kind and content neither panic nor make an invalid metric, and count at most once each.
func FuzzAttributes(f *testing.F) {
	w := newWorld(f, "limits: {models: 5, versions: 5, exception_types: 5, features: 5, evaluations: 5, details: 20}\nbaseline_store: {type: FILESYSTEM, config: {directory: "+f.TempDir()+"}}\nbaselines: {sample: 10}\n")
	n := 0
	f.Add("ml.model.name", "fraud", "ml.feature.x", 1.5, int64(3), true, uint64(1e9))
	f.Add("mlflow.llm.model", `"x"`, "mlflow.spanType", -1.0, int64(-3), false, uint64(0))
	f.Add("gen_ai.evaluation.name", "\xff", "gen_ai.evaluation.score.value", 0.1, int64(0), true, uint64(1))
	f.Add("ml.feature_time.x", "2026-11-24T12:00:00Z", "ml.feature_time.y", 1.7e18, int64(1), true, uint64(1e18))
	f.Add("mlflow.chat.tokenUsage", `{"input_tokens":-1,"output_tokens":1e300}`, "queue_wait_ms", 1e300, int64(1), true, uint64(1e18))
	f.Fuzz(func(t *testing.T, key, text, other string, number float64, whole int64, truth bool, took uint64) {
		request := ptraceotlp.NewExportRequest()
		rs := request.Traces().ResourceSpans().AppendEmpty()
		rs.Resource().Attributes().PutStr(key, text)
		for i := range 3 {
			s := rs.ScopeSpans().AppendEmpty().Spans().AppendEmpty()
			s.SetTraceID([16]byte{1})
			s.SetSpanID([8]byte{byte(i + 1)})
			s.SetParentSpanID([8]byte{byte(i)})
			s.SetStartTimestamp(1e9)
			s.SetEndTimestamp(pcommon.Timestamp(1e9 + took%1e12))
			s.Attributes().PutStr(key, text)
			s.Attributes().PutDouble(other, number)
			s.Attributes().PutInt(text, whole)
			s.Attributes().PutBool(other+key, truth)
			if i > 0 {
				s.Attributes().PutStr("ml.model.name", text)
				s.Attributes().PutStr("ml.feature."+key, text)
				s.Attributes().PutDouble("ml.feature."+other, number)
				s.Attributes().PutDouble("ml.prediction", number)
				s.Attributes().PutDouble("ml.confidence", number)
			}
			e := s.Events().AppendEmpty()
			e.SetName(evaluationResult)
			e.Attributes().PutStr("gen_ai.evaluation.name", key)
			e.Attributes().PutDouble("gen_ai.evaluation.score.value", number)
		}
		body, err := request.MarshalProto()
		require.NoError(t, err)
		_, err = w.pipeline.Export(t.Context(), receiver.Traces, body)
		require.NoError(t, err)
		if n++; n%100 == 0 {
			exportertest.Gather(t, w.Exporter)
		}
	})
}
