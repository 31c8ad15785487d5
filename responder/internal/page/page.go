// Package page serves the web page on which people judge answers and alerts and look at incidents.
//
// Input: requests of users who are logged in. Output: lists, items and forms; decisions and their authors go to the packages
// review, verdict and incident. State: none of its own. The page works without JavaScript. It never loads anything from other
// hosts, and never renders text from outside as markup.
package page

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/sightglass-ml/sightglass/responder/internal/incident"
	"github.com/sightglass-ml/sightglass/responder/internal/links"
	"github.com/sightglass-ml/sightglass/responder/internal/review"
	"github.com/sightglass-ml/sightglass/responder/internal/store"
	"github.com/sightglass-ml/sightglass/responder/internal/verdict"
)

//go:embed assets templates
var files embed.FS

// Paths that the page serves.
var Paths = []string{"/reviews", "/reviews/", "/alerts", "/alerts/", "/incidents", "/incidents/", incident.APIPath, incident.APIPath + "/", "/assets/"}

// Page is the handler of Paths. Before Configure it serves nothing.
type Page struct {
	store     *store.Store
	logger    *slog.Logger
	now       func() time.Time
	templates map[string]*template.Template
	handler   http.Handler
	login     login
	cfg       atomic.Pointer[Config]
}

// New returns the page over a store.
func New(s *store.Store, logger *slog.Logger, now func() time.Time) (*Page, error) {
	p := &Page{store: s, logger: logger, now: now, templates: map[string]*template.Template{}}
	for _, name := range []string{"reviews", "review", "alerts", "alert", "incidents", "incident", "problem"} {
		t, err := template.New("layout.html").Funcs(functions(now)).ParseFS(files, "templates/layout.html", "templates/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.templates[name] = t
	}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(*request) error{
		"GET /reviews":                  p.listReviews,
		"GET /reviews/{id}":             p.showReview,
		"GET /reviews/{id}/excerpt.txt": p.excerpt,
		"POST /reviews/{id}":            p.decide,
		"GET /alerts":                   p.listAlerts,
		"GET /alerts/{id}":              p.showAlert,
		"POST /alerts/{id}":             p.judge,

		"GET /incidents":                    p.listIncidents,
		"GET /incidents/{id}":               p.showIncident,
		"GET /incidents/{id}/postmortem.md": p.postmortem,
		"POST /incidents/{id}":              p.acknowledge,

		"GET " + incident.APIPath:                            p.apiIncidents,
		"GET " + incident.APIPath + "/{id}":                  p.apiIncident,
		"GET " + incident.APIPath + "/{id}/postmortem.md":    p.postmortem,
		"POST " + incident.APIPath + "/{id}/acknowledgement": p.apiAcknowledge,
	} {
		mux.HandleFunc(pattern, p.page(serve))
	}
	assets := http.FileServerFS(files)
	mux.HandleFunc("GET /assets/{file}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=300")
		assets.ServeHTTP(w, r)
	})
	p.handler = mux
	return p, nil
}

// Configure replaces the configuration. nil disables the page.
func (p *Page) Configure(cfg *Config) error {
	if cfg != nil && cfg.UsersFile != "" {
		if _, err := readUsers(cfg.UsersFile); err != nil {
			return err
		}
	}
	p.cfg.Store(cfg)
	return nil
}

// ServeHTTP implements http.Handler.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	cfg := p.cfg.Load()
	if cfg == nil {
		http.Error(w, "The review page is not configured: page.users_file or page.proxy says who may use it.", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it, browsers send forms with the origin "null", which does not match this site.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	p.handler.ServeHTTP(w, r)
}

// request is a request of a logged-in user.
type request struct {
	http.ResponseWriter
	*http.Request
	cfg  *Config
	user string
}

// maxForm bounds the body of a form.
const maxForm = 64 << 10

// page admits requests of logged-in users, and forms only from this site.
func (p *Page) page(serve func(*request) error) http.HandlerFunc {
	csrf := http.NewCrossOriginProtection()
	return func(w http.ResponseWriter, r *http.Request) {
		cfg := p.cfg.Load()
		user, err := p.login.user(r, cfg)
		if errors.Is(err, errNotLoggedIn) {
			if cfg.Proxy == nil {
				w.Header().Set("WWW-Authenticate", `Basic realm="Sightglass reviews", charset="UTF-8"`)
			}
			http.Error(w, "Please log in.", http.StatusUnauthorized)
			return
		}
		req := &request{w, r, cfg, user}
		if err == nil {
			if csrf.Check(r) != nil {
				p.problem(req, http.StatusForbidden, "This form came from another site", "Nothing was changed. Open the item here and decide again.")
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			err = serve(req)
		}
		switch {
		case err == nil:
		case errors.Is(err, review.ErrNotFound), errors.Is(err, verdict.ErrNotFound), errors.Is(err, incident.ErrNotFound):
			p.problem(req, http.StatusNotFound, "There is nothing here", "It may have been removed after its time of keeping.")
		case r.Context().Err() != nil:
		default:
			p.logger.Error("The review page failed", "path", r.URL.Path, "err", err)
			p.problem(req, http.StatusServiceUnavailable, "This did not work", "Nothing was changed. The log of the responder says why; try again.")
		}
	}
}

// view has the values for every template.
type view struct {
	Title   string
	Section string
	User    string
	Notice  string // result of the last action
	Error   string
	Data    any
}

func (p *Page) render(r *request, status int, name string, v view) error {
	v.User = r.user
	var b bytes.Buffer // Render into a buffer, so that a failing template does not send half a page.
	if err := p.templates[name].Execute(&b, v); err != nil {
		return err
	}
	r.Header().Set("Content-Type", "text/html; charset=utf-8")
	r.WriteHeader(status)
	_, _ = b.WriteTo(r.ResponseWriter) // The client may have disconnected.
	return nil
}

// Header returns the response's header; the embedded request has a field of the same name.
func (r *request) Header() http.Header { return r.ResponseWriter.Header() }

func (p *Page) problem(r *request, status int, title, text string) {
	if err := p.render(r, status, "problem", view{Title: title, Data: text}); err != nil {
		p.logger.Error("The review page failed", "err", err)
		http.Error(r, title, status)
	}
}

const pageSize = 25

// pager is one page of a list.
type pager struct {
	Total, Page, Pages   int
	First, Last          int
	PreviousURL, NextURL string
}

// maxPage bounds the number of rows that a database has to skip.
const maxPage = 10_000

func pageNumber(query url.Values) int {
	n, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		return 1
	}
	return min(max(n, 1), maxPage)
}

func newPager(r *request, page, total, onPage int) pager {
	pg := pager{Total: total, Page: page, Pages: max(1, (total+pageSize-1)/pageSize)}
	if onPage > 0 {
		pg.First = (page-1)*pageSize + 1
		pg.Last = pg.First + onPage - 1
	}
	at := func(n int) string {
		q := r.URL.Query()
		q.Set("page", strconv.Itoa(n))
		return r.URL.Path + "?" + q.Encode()
	}
	if page > 1 {
		pg.PreviousURL = at(min(page-1, pg.Pages))
	}
	if page < pg.Pages {
		pg.NextURL = at(page + 1)
	}
	return pg
}

// choices bounds the values that a filter offers.
const choices = 500

// text returns a value of a query or a form without characters that databases reject.
func text(values url.Values, key string, most int) string {
	s := strings.TrimSpace(strings.ReplaceAll(strings.ToValidUTF8(values.Get(key), "\uFFFD"), "\x00", "\uFFFD"))
	if utf8.RuneCountInString(s) > most {
		s = string([]rune(s)[:most])
	}
	return s
}

type reviewList struct {
	pager
	Filter              review.Filter
	States              []string
	Models, Evaluations []string
	Items               []review.Entry
	Counts              map[string]int64
	Filtered            bool
}

func (p *Page) listReviews(r *request) error {
	q := r.URL.Query()
	d := reviewList{States: review.States, Filter: review.Filter{
		State: text(q, "state", 20), Model: text(q, "model", 256), Evaluation: text(q, "evaluation", 256), Text: text(q, "q", 200),
	}}
	if !q.Has("state") {
		d.Filter.State = review.Open
	}
	n := pageNumber(q)
	var total int
	err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		if d.Items, total, err = review.List(tx, d.Filter, pageSize, (n-1)*pageSize); err != nil {
			return err
		}
		status, err := review.ReadStatus(tx)
		if err != nil {
			return err
		}
		d.Counts = status.Items
		d.Models, d.Evaluations, err = review.Choices(tx, choices)
		return err
	})
	if err != nil {
		return err
	}
	d.pager = newPager(r, n, total, len(d.Items))
	d.Filtered = d.Filter.Model != "" || d.Filter.Evaluation != "" || d.Filter.Text != ""
	return p.render(r, http.StatusOK, "reviews", view{Title: "Answers to review", Section: "reviews", Notice: notices[q.Get("done")], Data: d})
}

// notices are the messages after a redirect. The URL only selects one of them and cannot inject other text.
var notices = map[string]string{
	"acknowledged":  "You look after this incident.",
	review.Accepted: "Accepted. The answer stands.", review.Rejected: "Rejected.", review.Reopened: "Put back into the queue.",
	"judged": "The verdict is recorded.",
}

// An excerpt is shown in two steps. The complete one is a download.
const (
	excerptShort = 2_000
	excerptLong  = 100_000
)

type reviewItem struct {
	review.Entry
	Decisions           []review.Decision
	TraceURL, MLflowURL string
	Cut                 bool
	MoreURL             string
	Shown               int // number of characters of the excerpt
	Reason              string
	Waiting             int64
}

func (p *Page) showReview(r *request) error {
	return p.review(r, http.StatusOK, notices[r.URL.Query().Get("done")], "", "")
}

func (p *Page) review(r *request, status int, notice, problem, reason string) error {
	id, most := r.PathValue("id"), excerptShort
	if r.URL.Query().Has("long") {
		most = excerptLong
	}
	d := reviewItem{Reason: reason, Shown: most}
	if err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		if d.Entry, d.Decisions, err = review.Get(tx, id, most); err != nil {
			return err
		}
		s, err := review.ReadStatus(tx)
		d.Waiting = s.Items[review.Open]
		return err
	}); err != nil {
		return err
	}
	d.TraceURL, d.MLflowURL = links.Fill(r.cfg.TraceURL, links.TraceID, d.TraceID), links.Fill(r.cfg.MLflowURL, links.RunID, d.MLflowRunID)
	if d.Cut = d.ExcerptLength > most; d.Cut && most < excerptLong {
		d.MoreURL = address("/reviews", id) + "?long"
	}
	return p.render(r, status, "review", view{Title: "Review of " + d.Model, Section: "reviews", Notice: notice, Error: problem, Data: d})
}

// address returns the path of an item, whose ID comes from outside.
func address(under, id string) string { return under + "/" + url.PathEscape(id) }

func (p *Page) excerpt(r *request) error {
	var e review.Entry
	if err := p.store.Read(r.Context(), func(tx *store.Tx) (err error) {
		e, _, err = review.Get(tx, r.PathValue("id"), 4<<20)
		return err
	}); err != nil {
		return err
	}
	r.Header().Set("Content-Type", "text/plain; charset=utf-8")
	r.Header().Set("Content-Disposition", `attachment; filename="excerpt.txt"`)
	_, _ = r.Write([]byte(e.Excerpt))
	return nil
}

// Write writes the response; the embedded request has a method of the same name.
func (r *request) Write(b []byte) (int, error) { return r.ResponseWriter.Write(b) }

const maxReason = 2000

// form parses a form. If it returns false, it has sent an error response.
func (p *Page) form(r *request) (revision int64, ok bool) {
	if err := r.ParseForm(); err != nil {
		p.problem(r, http.StatusBadRequest, "The form could not be read", "Nothing was changed. Go back, shorten what you wrote, and send it again.")
		return 0, false
	}
	revision, err := strconv.ParseInt(r.PostForm.Get("revision"), 10, 64)
	if err != nil {
		p.problem(r, http.StatusBadRequest, "The form is incomplete", "Nothing was changed. Open the item and decide again.")
		return 0, false
	}
	return revision, true
}

func (p *Page) decide(r *request) error {
	revision, ok := p.form(r)
	if !ok {
		return nil
	}
	id := r.PathValue("id")
	d := review.Decision{Decision: r.PostForm.Get("decision"), Reason: text(r.PostForm, "reason", maxReason), By: r.user, At: p.now()}
	switch {
	case !slices.Contains(review.Decisions, d.Decision):
		p.problem(r, http.StatusBadRequest, "The form is incomplete", "Nothing was changed. Open the item and choose a decision.")
		return nil
	case d.Reason == "" && d.Decision != review.Accepted:
		return p.review(r, http.StatusUnprocessableEntity, "", "Say in a few words why. Evaluators learn from the reason.", "")
	}
	next := ""
	err := p.store.Write(r.Context(), func(tx *store.Tx) (err error) {
		if err := review.Decide(tx, id, revision, d); err != nil {
			return err
		}
		next, err = review.Next(tx)
		return err
	})
	if errors.Is(err, review.ErrConflict) {
		return p.review(r, http.StatusConflict, "", "Your decision was not recorded: somebody else decided since you opened this item. See below what and why.", d.Reason)
	}
	if err != nil {
		return err
	}
	to := "/reviews"
	if d.Decision == review.Reopened {
		to = address("/reviews", id)
	} else if next != "" {
		to = address("/reviews", next)
	}
	http.Redirect(r, r.Request, to+"?done="+d.Decision, http.StatusSeeOther)
	return nil
}
