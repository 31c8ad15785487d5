package incident

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
)

// SlackConfig is the Slack channel for incidents. Each has one message, which is updated.
type SlackConfig struct {
	// Channel is the ID or name of the channel. The token's app has to be a member.
	Channel string `yaml:"channel"`
	// Token is a bot token with the scope chat:write. It is read at every request.
	Token config.SecretSource `yaml:"token"`
	// Severities are the severities of incidents that get a message.
	Severities []string `yaml:"severities,omitempty"`
	// URL is the address of Slack's Web API.
	URL        string     `yaml:"url"`
	HTTPClient config.Raw `yaml:"http_client,omitempty"`

	client promconfig.HTTPClientConfig
}

// SetDefaults implements config.Defaulter.
func (c *SlackConfig) SetDefaults() {
	c.URL, c.Severities = "https://slack.com/api", []string{"critical", "warning"}
}

var channelName = regexp.MustCompile(`^(#?[\p{L}\p{N}._-]{1,80})$`)

// Validate implements config.Validator.
func (c *SlackConfig) Validate(at config.At) {
	if !channelName.MatchString(c.Channel) {
		at.Errorf("channel", "%q; want the ID or the name of a channel, such as C0123456789 or #ml-incidents", c.Channel)
	}
	if c.Token == (config.SecretSource{}) {
		at.Errorf("token", "missing; want %s with the token of a bot", c.Token.Want())
	}
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		at.Errorf("url", "%q; want an http or https URL without credentials, such as https://slack.com/api", c.URL)
	}
	for _, s := range c.Severities {
		if !slices.Contains(severities, s) {
			at.Errorf("severities", "%q; want some of %s", s, strings.Join(severities, ", "))
		}
	}
	var err error
	if c.client, err = httpclient.Load(c.HTTPClient, at); err != nil {
		at.Errorf("http_client", "%v", err)
	}
}

// slackClient calls Slack's Web API.
type slackClient struct {
	cfg  SlackConfig
	http *http.Client
}

func newSlackClient(cfg SlackConfig) (*slackClient, error) {
	client, err := promconfig.NewClientFromConfig(cfg.client, "slack")
	if err != nil {
		return nil, fmt.Errorf("slack: http_client: %w", err)
	}
	return &slackClient{cfg, client}, nil
}

const (
	slackTimeout = 15 * time.Second
	// maxSlackAnswer bounds a response, which repeats the accepted message.
	maxSlackAnswer = 256 << 10
)

// slackError is an error code of Slack.
type slackError struct {
	code string
	// after is the wait that Slack asks for, 0 if none.
	after time.Duration
}

func (e *slackError) Error() string { return "Slack answers " + e.code }

// slackAnswer has the used fields of a response.
type slackAnswer struct {
	OK      bool   `json:"ok"`
	Error   string `json:"error"`
	Channel string `json:"channel"`
	TS      string `json:"ts"`
}

// call calls a method of the API.
func (c *slackClient) call(ctx context.Context, method string, body any) (slackAnswer, error) {
	var answer slackAnswer
	token, err := c.cfg.Token.Read()
	if err != nil {
		return answer, fmt.Errorf("read Slack's token: %w", err)
	}
	text, err := json.Marshal(body)
	if err != nil {
		return answer, err
	}
	ctx, cancel := context.WithTimeout(ctx, slackTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(c.cfg.URL, "/")+"/"+method, bytes.NewReader(text))
	if err != nil {
		return answer, err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("Authorization", "Bearer "+token.Reveal())
	res, err := c.http.Do(r)
	if err != nil {
		return answer, fmt.Errorf("call Slack: %w", err)
	}
	defer res.Body.Close()
	after := retryAfter(res.Header)
	if res.StatusCode == http.StatusTooManyRequests {
		return answer, &slackError{"ratelimited", max(after, time.Second)}
	}
	content, err := io.ReadAll(io.LimitReader(res.Body, maxSlackAnswer))
	switch {
	case err != nil:
		return answer, fmt.Errorf("call Slack: %w", err)
	case res.StatusCode != http.StatusOK:
		return answer, &slackError{res.Status, after}
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return answer, fmt.Errorf("the answer to %s is not Slack's: %w", method, err)
	}
	if !answer.OK {
		return answer, &slackError{fmt.Sprintf("%.100s", answer.Error), after}
	}
	return answer, nil
}

// maxRetryAfter bounds the wait that Slack may ask for.
const maxRetryAfter = time.Hour

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}

// ReachSlack checks the token without posting a message.
func ReachSlack(ctx context.Context, cfg SlackConfig) (string, error) {
	c, err := newSlackClient(cfg)
	if err != nil {
		return "", err
	}
	if _, err := c.call(ctx, "auth.test", struct{}{}); err != nil {
		return "", err
	}
	return "the token is valid", nil
}

// lostMessage are the errors after which a message can no longer be updated. A new message replaces it.
var lostMessage = []string{"message_not_found", "cant_update_message", "edit_window_closed"}

func isLostMessage(err error) bool {
	var refused *slackError
	return errors.As(err, &refused) && slices.Contains(lostMessage, refused.code)
}
