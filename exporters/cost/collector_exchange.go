package cost

import (
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

func (e *Exporter) openRates() (*fx.Keeper, error) {
	cfg := e.cfg.Exchange
	wanted := map[string]bool{}
	for _, entry := range e.cfg.entries {
		wanted[entry.Currency] = true
	}
	if e.cfg.Metering != nil {
		for _, r := range e.cfg.Metering.Resources {
			wanted[r.Currency] = true
		}
	}
	delete(wanted, fx.CAD)
	client, err := httpclient.New(cfg.HTTPClient, cfg.client, "cost-exporter")
	if err != nil {
		return nil, err
	}
	if client == nil {
		client = new(http.Client)
	}
	client.Timeout = time.Duration(cfg.Timeout)
	return fx.Open(fx.Options{
		Currencies: slices.Sorted(maps.Keys(wanted)), Fixed: cfg.Rates, From: e.now().Add(-time.Duration(cfg.History)),
		File: filepath.Join(string(e.cfg.State), "exchange-rates.json"), ValetURL: cfg.ValetURL, ECBURL: cfg.ECBURL, Online: cfg.Online,
		Client: client, Now: e.now, Logger: e.log,
	})
}

// rate implements prices.Rate.
func (e *Exporter) rate(currency string, at time.Time) (float64, bool) {
	r, ok := e.rates.Book().At(currency, at)
	return r.CAD, ok
}

// wantedRate is the rate of a currency. From now on the banks are also queried for it.
func (e *Exporter) wantedRate(currency string, at time.Time) (float64, bool) {
	e.rates.Want(currency)
	return e.rate(currency, at)
}
