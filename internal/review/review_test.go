package review_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sightglass-ml/sightglass/internal/review"
)

func item() review.Item {
	return review.Item{
		ID: review.NewID("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "", "groundedness"), Time: time.Unix(1e9, 0).UTC(),
		Model: "support-bot", Version: "3", TraceID: "0af7651916cd43dd8448eb211c80319c",
		Evaluation: "groundedness", Score: 0.89, Gate: 0.9,
	}
}

func TestAnItemSurvivesItsJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(item())
	require.NoError(t, err)
	var got review.Item
	require.NoError(t, json.Unmarshal(text, &got))
	require.Equal(t, item(), got)
}

func TestReviewIDIdentifiesTheEvaluation(t *testing.T) {
	t.Parallel()
	require.Equal(t, "40b395eaa29be6f5", review.NewID("a", "b", "c", "d")[:16], "senders of all versions must agree")
	require.NotEqual(t, review.NewID("ab", "", "c", "d"), review.NewID("a", "b", "c", "d"), "parts must not run together")
}

func TestAllProblemsOfAnItemAreReported(t *testing.T) {
	t.Parallel()
	require.NoError(t, item().Validate())
	require.EqualError(t, review.Item{Score: math.NaN()}.Validate(), `id: is missing
model: is missing
evaluation: is missing
time: is missing, expected an RFC 3339 time
score: is NaN, expected a finite number
trace_id and response_id: both missing, expected at least one to find the response by`)
}
