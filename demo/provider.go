package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Incident is an incident of the responder: the alerts of one fault.
type Incident struct {
	ID, Title, Cause string
	Alerts           int
}

// providerCause is the expected cause in the incident of the unmapped provider.
const providerCause = "payment_provider = " + newProvider + " in dataset payments"

// incidentsPath is the path of the responder's incidents.
const incidentsPath = "/api/v1/incidents"

// about returns the incidents with a firing or resolved alert of the name about the object.
func (r *response) about(ctx context.Context, alert, object string) ([]Incident, error) {
	var list struct {
		Incidents []Incident `json:"incidents"`
	}
	if err := r.read(ctx, incidentsPath+"?limit=100&q="+url.QueryEscape(object), &list); err != nil {
		return nil, err
	}
	var found []Incident
	for _, i := range list.Incidents {
		var view struct {
			Members []struct {
				Name   string `json:"name"`
				Object struct {
					Name string `json:"name"`
				} `json:"object"`
			} `json:"members"`
		}
		if err := r.read(ctx, incidentsPath+"/"+i.ID, &view); err != nil {
			return nil, err
		}
		for _, m := range view.Members {
			if m.Name == alert && strings.HasPrefix(m.Object.Name, object) && !slices.Contains(found, i) {
				found = append(found, i)
			}
		}
	}
	return found, nil
}

func (r *response) read(ctx context.Context, path string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server.URL()+path, nil)
	if err != nil {
		return err
	}
	request.SetBasicAuth(userName, userName)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("read the incidents: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("read the incidents: %s", answer.Status)
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		return fmt.Errorf("read the incidents: %w", err)
	}
	return nil
}

// readProvider reads the incidents of the unmapped provider: those of the table, and those of the model that learns from it.
func (d *demo) readProvider(ctx context.Context) error {
	table, err := d.response.about(ctx, "MLDatasetBroken", "payments")
	if err != nil {
		return err
	}
	model, err := d.response.about(ctx, "MLModelInputBroken", risk)
	if err != nil {
		return err
	}
	d.result.Provider = nil
	for _, i := range append(table, model...) {
		if !slices.ContainsFunc(d.result.Provider, func(o Incident) bool { return o.ID == i.ID }) {
			d.result.Provider = append(d.result.Provider, i)
		}
	}
	if len(table) == 0 || len(model) == 0 {
		d.result.Provider = nil // The responder has not grouped the alerts yet.
	}
	return nil
}
