package demo

import (
	"context"
	"errors"
	"strconv"
	"time"

	"go.opentelemetry.io/collector/pdata/ptrace"

	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/binning"
)

// The model that scores payments, by the columns of the table of payments.
const (
	risk    = "payment-risk"
	riskRun = "7d2e4b6c8a0f41d3b5c7e9f1a3b5c7d9"
)

// Share of the new provider's payments during its trial, and when it is live.
const pilotShare, liveShare = 0.01, 0.11

func evenly(values []string) []float64 {
	shares := make([]float64, len(values))
	for i := range shares {
		shares[i] = 1 / float64(len(values))
	}
	return shares
}

// providerShares are the shares of the old providers and, last, of the new one.
func providerShares(ofNew float64) []float64 {
	shares := evenly(paymentProviders)
	for i := range shares {
		shares[i] *= 1 - ofNew
	}
	return append(shares, ofNew)
}

func learnRisk(ctx context.Context, store *baseline.Store, now time.Time) error {
	const perDay = 8000
	providers := append(append([]string(nil), paymentProviders...), newProvider)
	layouts := map[string]binning.Layout{
		"input/merchant_category": binning.NewCategorical(merchantCategories, len(merchantCategories), false),
		"input/payment_provider":  binning.NewCategorical(providers, len(providers), false),
		"output/prediction":       binning.NewCategorical([]string{"refuse", "accept"}, 2, false),
	}
	return errors.Join(
		learn(ctx, store.Subject("model_inputs", risk), withRole(layouts, "input/"), perDay, now),
		learn(ctx, store.Subject("model", risk+"@"+modelVersion), withRole(layouts, "output/"), perDay, now),
	)
}

// judge scores a payment.
func (m *models) judge(span ptrace.Span) {
	a := span.Attributes()
	category, of := merchantCategories[m.random.IntN(len(merchantCategories))], pilotShare
	if m.unmapped {
		of = liveShare
	}
	provider := paymentProviders[m.random.IntN(len(paymentProviders))]
	if m.random.Float64() < of {
		provider = newProvider
		if m.unmapped && m.random.Float64() > pilotShare {
			category = newCategory
		}
	}
	a.PutStr("ml.feature.merchant_category", category)
	a.PutStr("ml.feature.payment_provider", provider)
	a.PutStr("ml.instance", "risk-"+strconv.Itoa(m.random.IntN(2)))
	prediction := "refuse"
	if m.random.Float64() < takenShare {
		prediction = "accept"
	}
	a.PutStr("ml.prediction", prediction)
}
