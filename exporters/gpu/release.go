package gpu

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Routes implements exporter.Router.
func (i *instance) Routes(mux *http.ServeMux) {
	mux.HandleFunc("POST /-/release", i.serveRelease)
	mux.HandleFunc("POST /-/acquire", i.serveAcquire)
}

const (
	releaseDefault = 15 * time.Minute
	releaseMax     = 24 * time.Hour
	releaseWait    = 10 * time.Second
)

// serveRelease closes the driver, so that it can be unloaded, for the time in the
// parameter "for" or until /-/acquire.
func (i *instance) serveRelease(w http.ResponseWriter, r *http.Request) {
	d := releaseDefault
	if v := r.FormValue("for"); v != "" {
		var err error
		if d, err = time.ParseDuration(v); err != nil || d <= 0 || d > releaseMax {
			http.Error(w, fmt.Sprintf("for=%s is no duration above 0s and up to %s.", strconv.Quote(v), releaseMax), http.StatusBadRequest)
			return
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), releaseWait)
	defer cancel()
	select {
	case <-i.library:
		defer func() { i.library <- struct{}{} }()
	case <-ctx.Done():
		http.Error(w, "A collection of the GPUs does not end; end the process instead.", http.StatusServiceUnavailable)
		return
	}
	if err := i.shutdown(ctx); err != nil {
		http.Error(w, "Not released: "+err.Error()+".", http.StatusServiceUnavailable)
		return
	}
	until := i.now().Add(d)
	i.mu.Lock()
	i.releasedUntil = until
	i.mu.Unlock()
	i.log.Info("The driver was released on request", "until", until)
	_, _ = io.WriteString(w, "Released until "+until.UTC().Format(time.RFC3339)+"\n")
}

func (i *instance) serveAcquire(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	i.releasedUntil = time.Time{}
	i.mu.Unlock()
	_, _ = io.WriteString(w, "The driver is used again from the next collection on\n")
}
