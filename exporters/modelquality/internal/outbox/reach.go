package outbox

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/review"
)

// Reach checks whether a responder answers. It sends a GET, which creates nothing. client may be nil.
func Reach(ctx context.Context, client *http.Client, url string, token config.SecretSource, timeout time.Duration) (found string, err error) {
	if client == nil {
		client = newClient()
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(url, "/")+review.Path, http.NoBody)
	if err != nil {
		return "", err
	}
	if token != (config.SecretSource{}) {
		secret, err := token.Read()
		if err != nil {
			return "", fmt.Errorf("bearer token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(secret.Reveal()))
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // The status is sufficient.
	switch status := answer.StatusCode; {
	case status/100 == 2, status == http.StatusMethodNotAllowed:
		return url + " answers", nil // A responder accepts only POST.
	case status == http.StatusNotFound:
		return "", fmt.Errorf("%s answers %s for %s; want the address of a responder with reviews configured", url, answer.Status, review.Path)
	default:
		return "", fmt.Errorf("%s answers %s", url, answer.Status)
	}
}
