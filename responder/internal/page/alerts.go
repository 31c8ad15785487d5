package page

import (
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/sightglass-ml/sightglass/responder/internal/links"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/verdict"
)

type alertList struct {
	pager
	Filter   verdict.Filter
	Verdicts []string
	Names    []string
	Alerts   []verdict.Alert
	Counts   map[string]int64
	Filtered bool
}

func (p *Page) listAlerts(r *request) error {
	q := r.URL.Query()
	d := alertList{Verdicts: verdict.All, Counts: map[string]int64{}, Filter: verdict.Filter{
		Verdict: text(q, "verdict", 20), Alertname: text(q, "alertname", 256), Text: text(q, "q", 200),
	}}
	if !q.Has("verdict") {
		d.Filter.Verdict = verdict.Unjudged
	}
	n := pageNumber(q)
	var total int
	err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		if d.Alerts, total, err = verdict.List(tx, d.Filter, pageSize, (n-1)*pageSize); err != nil {
			return err
		}
		status, err := verdict.ReadStatus(tx)
		if err != nil {
			return err
		}
		for k, n := range status.Alerts {
			d.Counts[k.Verdict] += n
		}
		d.Names, err = verdict.Names(tx, choices)
		return err
	})
	if err != nil {
		return err
	}
	d.pager = newPager(r, n, total, len(d.Alerts))
	d.Filtered = d.Filter.Alertname != "" || d.Filter.Text != ""
	return p.render(r, http.StatusOK, "alerts", view{Title: "Alerts to judge", Section: "alerts", Notice: notices[q.Get("done")], Data: d})
}

type alertItem struct {
	verdict.Alert
	LabelNames          []string
	TraceURL, MLflowURL string
	RunbookURL          string
	Typed, Onset        string // as entered in the form
}

func (p *Page) showAlert(r *request) error { return p.alert(r, http.StatusOK, "", nil) }

// alert shows an alert. sent is submitted input to show again, so that the user need not type it again.
func (p *Page) alert(r *request, status int, problem string, sent *verdict.Verdict) error {
	var d alertItem
	if err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		d.Alert, err = verdict.Get(tx, r.PathValue("id"))
		return err
	}); err != nil {
		return err
	}
	d.Typed = d.Note
	if !d.OnsetAt.IsZero() {
		d.Onset = d.OnsetAt.Format(localLayout)
	}
	if sent != nil {
		d.Typed, d.Onset = sent.Note, r.PostForm.Get("onset")
	}
	for name := range d.Labels {
		d.LabelNames = append(d.LabelNames, name)
	}
	slices.Sort(d.LabelNames)
	d.TraceURL, d.MLflowURL = links.Fill(r.cfg.TraceURL, links.TraceID, d.Annotations["trace_id"]), links.Fill(r.cfg.MLflowURL, links.RunID, d.Annotations["mlflow_run_id"])
	d.RunbookURL = links.Runbook(d.Annotations["runbook_url"])
	return p.render(r, status, "alert", view{Title: d.Alertname, Section: "alerts", Notice: notices[r.URL.Query().Get("done")], Error: problem, Data: d})
}

func (p *Page) judge(r *request) error {
	revision, ok := p.form(r)
	if !ok {
		return nil
	}
	v := verdict.Verdict{Verdict: r.PostForm.Get("verdict"), Note: text(r.PostForm, "note", maxReason), By: r.user, At: p.now()}
	if !slices.Contains(verdict.All, v.Verdict) {
		return p.alert(r, http.StatusUnprocessableEntity, "Choose whether the alert was true or false.", &v)
	}
	if onset := r.PostForm.Get("onset"); onset != "" {
		var err error
		// Browsers omit the seconds if they are zero.
		if v.Onset, err = time.Parse(localLayout, onset[:min(len(onset), len(localLayout))]); err != nil || v.Onset.Year() < 2000 {
			return p.alert(r, http.StatusUnprocessableEntity, "The onset is no time; want one such as 2026-11-24T09:00, in UTC.", &v)
		}
	}
	id := r.PathValue("id")
	err := p.store.Write(r.Context(), func(tx *store.Tx) error { return verdict.Judge(tx, id, revision, v) })
	var invalid *verdict.InvalidError
	switch {
	case errors.As(err, &invalid):
		return p.alert(r, http.StatusUnprocessableEntity, invalid.Text, &v)
	case errors.Is(err, verdict.ErrConflict):
		return p.alert(r, http.StatusConflict, "Your verdict was not recorded: somebody else judged since you opened this alert. See below what they said.", &v)
	case err != nil:
		return err
	}
	http.Redirect(r, r.Request, address("/alerts", id)+"?done=judged", http.StatusSeeOther)
	return nil
}
