package page

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
)

type incidentList struct {
	pager
	Filter    incident.Filter
	States    []string
	Incidents []incident.Summary
	Status    incident.Status
	Filtered  bool
}

func (p *Page) listIncidents(r *request) error {
	q := r.URL.Query()
	d := incidentList{States: append([]string{incident.Unresolved}, incident.States...), Filter: incident.Filter{State: text(q, "state", 20), Text: text(q, "q", 200)}}
	if !q.Has("state") {
		d.Filter.State = incident.Unresolved
	}
	n := pageNumber(q)
	var total int
	if err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		if d.Incidents, total, err = incident.List(tx, d.Filter, pageSize, (n-1)*pageSize); err != nil {
			return err
		}
		d.Status, err = incident.ReadStatus(tx)
		return err
	}); err != nil {
		return err
	}
	d.pager = newPager(r, n, total, len(d.Incidents))
	d.Filtered = d.Filter.Text != ""
	return p.render(r, http.StatusOK, "incidents", view{Title: "Incidents", Section: "incidents", Data: d})
}

type incidentItem struct {
	*incident.View
	Drawing *drawing
	Times   []namedTime
}

type namedTime struct{ Name, Value string }

// get reads the incident of the path. If the incident was merged into another, it reads that one.
func (p *Page) get(r *request) (v *incident.View, err error) {
	err = p.store.Read(r.Context(), func(tx *store.Tx) error {
		id := r.PathValue("id")
		for range 5 { // More than one step of merging is rare. The bound protects against a cycle.
			if v, err = incident.Get(tx, id, r.cfg.Places()); err != nil || v.MergedInto == "" {
				return err
			}
			id = v.MergedInto
		}
		return nil
	})
	return v, err
}

func (p *Page) showIncident(r *request) error {
	v, err := p.get(r)
	if err != nil {
		return err
	}
	if v.ID != r.PathValue("id") {
		http.Redirect(r, r.Request, address("/incidents", v.ID), http.StatusSeeOther)
		return nil
	}
	d := incidentItem{View: v, Drawing: draw(v)}
	t := v.Times()
	for _, n := range []struct {
		name string
		is   int64
	}{{"To detect", int64(t.Detect)}, {"To acknowledge", int64(t.Acknowledge)}, {"To resolve", int64(t.Resolve)}} {
		value := "not known"
		if n.is >= 0 {
			value = incident.Length(durationOf(n.is))
		} else if n.name != "To detect" {
			value = "not yet"
		}
		d.Times = append(d.Times, namedTime{n.name, value})
	}
	return p.render(r, http.StatusOK, "incident", view{Title: v.Title, Section: "incidents", Notice: notices[r.URL.Query().Get("done")], Data: d})
}

func (p *Page) postmortem(r *request) error {
	v, err := p.get(r)
	if err != nil {
		return err
	}
	r.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	r.Header().Set("Content-Disposition", `attachment; filename="postmortem-`+plainName(v.ID)+`.md"`)
	return v.WritePostmortem(r.ResponseWriter)
}

// plainName formats an ID for a file name.
func plainName(id string) string {
	out := []rune{}
	for _, c := range id {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' {
			out = append(out, c)
		}
	}
	return string(out)
}

// take records that the user acknowledges the incident of the path.
func (p *Page) take(r *request) error {
	return p.store.Write(r.Context(), func(tx *store.Tx) error {
		return incident.Acknowledge(tx, r.PathValue("id"), r.user, p.now())
	})
}

func (p *Page) acknowledge(r *request) error {
	if err := p.take(r); err != nil {
		return err
	}
	http.Redirect(r, r.Request, address("/incidents", r.PathValue("id"))+"?done=acknowledged", http.StatusSeeOther)
	return nil
}

func writeJSON(r *request, v any) error {
	r.Header().Set("Content-Type", "application/json; charset=utf-8")
	return json.NewEncoder(r.ResponseWriter).Encode(v)
}

// apiList is the API's response for a list of incidents.
type apiList struct {
	Incidents []incident.Summary `json:"incidents"`
	Total     int                `json:"total"`
}

// apiIncidents returns incidents filtered by state, text or alert.
func (p *Page) apiIncidents(r *request) error {
	q := r.URL.Query()
	limit, err := strconv.Atoi(q.Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		limit = pageSize
	}
	d := apiList{Incidents: []incident.Summary{}}
	if err := p.store.Read(r.Context(), func(tx *store.Tx) error {
		if alert := text(q, "alert", 256); alert != "" {
			id, err := incident.Of(tx, alert)
			if err != nil || id == "" {
				return err
			}
			v, err := incident.Get(tx, id, r.cfg.Places())
			if err == nil {
				d = apiList{[]incident.Summary{v.Summary}, 1}
			}
			return err
		}
		found, total, err := incident.List(tx, incident.Filter{State: text(q, "state", 20), Text: text(q, "q", 200)}, limit, (pageNumber(q)-1)*limit)
		d.Incidents, d.Total = append(d.Incidents, found...), total
		return err
	}); err != nil {
		return err
	}
	return writeJSON(r, d)
}

func (p *Page) apiIncident(r *request) error {
	v, err := p.get(r)
	if err != nil {
		return err
	}
	return writeJSON(r, v)
}

func (p *Page) apiAcknowledge(r *request) error {
	if err := p.take(r); err != nil {
		return err
	}
	r.WriteHeader(http.StatusNoContent)
	return nil
}
