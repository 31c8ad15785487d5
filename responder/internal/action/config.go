package action

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/internal/config"
)

// Responses are the values of the label `response` that an action may answer.
var Responses = []string{"replay", "retrain", "review"}

// Config is an action that alerts may cause.
type Config struct {
	// Name is unique and must not change: running actions are found by it.
	Name string `yaml:"name"`
	// Response is the alert's label `response` that asks for the action.
	Response string `yaml:"response"`
	// Match has further labels that the alert must have with exactly these values.
	Match map[string]string `yaml:"match,omitempty"`

	// DryRun only records what would be done. It is the default.
	DryRun bool `yaml:"dry_run"`
	// Cooldown is the minimum time between two actions on one object: the alert's model, otherwise its dataset, in its cluster
	// and namespace.
	Cooldown config.Duration `yaml:"cooldown"`
	// ObjectLabels are further labels that distinguish objects of the same name.
	ObjectLabels []string `yaml:"object_labels,omitempty"`
	// Grace is how long an action waits for alerts that say that the data are broken: 10m by default for retrain, otherwise 0s.
	Grace *config.Duration `yaml:"grace,omitempty"`
	// DailyBudget is the maximum number of actions in a day (UTC), for each cluster and namespace.
	DailyBudget int `yaml:"daily_budget"`
	// MaxInFlight is the maximum number of sent actions that have not ended.
	MaxInFlight int `yaml:"max_in_flight"`
	// Requires lists values without which the target is not called.
	Requires []string `yaml:"requires,omitempty"`

	// GiveUpAfter is how long delivery to the target is tried. RunTimeout is the maximum duration of the started run.
	GiveUpAfter config.Duration `yaml:"give_up_after"`
	RunTimeout  config.Duration `yaml:"run_timeout"`
	// RetryMin and RetryMax bound the wait after a failed attempt. The wait doubles with each attempt.
	RetryMin config.Duration `yaml:"retry_min"`
	RetryMax config.Duration `yaml:"retry_max"`
	// PollInterval is the wait between two status requests for a run. RequestTimeout applies to one request.
	PollInterval   config.Duration `yaml:"poll_interval"`
	RequestTimeout config.Duration `yaml:"request_timeout"`

	Target TargetConfig `yaml:"target"`
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.DryRun = true
	c.Cooldown = config.Duration(6 * time.Hour)
	c.DailyBudget, c.MaxInFlight = 10, 1
	c.GiveUpAfter, c.RunTimeout = config.Duration(2*time.Hour), config.Duration(24*time.Hour)
	c.RetryMin, c.RetryMax = config.Duration(10*time.Second), config.Duration(5*time.Minute)
	c.PollInterval, c.RequestTimeout = config.Duration(30*time.Second), config.Duration(30*time.Second)
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	if c.Name == "" || len(c.Name) > 100 {
		at.Errorf("name", "has %d characters; want 1 to 100", len(c.Name))
	}
	if !slices.Contains(Responses, c.Response) {
		at.Errorf("response", "%q; want one of %s", c.Response, strings.Join(Responses, ", "))
	}
	for _, d := range []struct {
		key   string
		value config.Duration
	}{
		{"cooldown", c.Cooldown},
		{"give_up_after", c.GiveUpAfter},
		{"run_timeout", c.RunTimeout},
		{"retry_min", c.RetryMin},
		{"retry_max", c.RetryMax},
		{"poll_interval", c.PollInterval},
		{"request_timeout", c.RequestTimeout},
	} {
		if d.value <= 0 {
			at.Errorf(d.key, "%s; want more than 0", d.value)
		}
	}
	if g := c.grace(); g < 0 || g > 24*time.Hour {
		at.Errorf("grace", "%s; want 0s to 24h", config.Duration(g))
	}
	if c.RequestTimeout > config.Duration(5*time.Minute) {
		at.Errorf("request_timeout", "%s; want at most 5m: another replica takes over only after three times this", c.RequestTimeout)
	}
	if c.RetryMax < c.RetryMin {
		at.Errorf("retry_max", "%s is less than retry_min, %s", c.RetryMax, c.RetryMin)
	}
	if c.DailyBudget < 1 {
		at.Errorf("daily_budget", "%d; want at least 1", c.DailyBudget)
	}
	if c.MaxInFlight < 1 {
		at.Errorf("max_in_flight", "%d; want at least 1", c.MaxInFlight)
	}
	for _, name := range c.Requires {
		if _, ok := required[name]; !ok {
			at.Errorf("requires", "%q; want some of %s", name, strings.Join(slices.Sorted(maps.Keys(required)), ", "))
		}
	}
}

// retrainGrace is five minutes for the interval of profiles, three for the rules and Alertmanager, and two in reserve.
const retrainGrace = 10 * time.Minute

func (c *Config) grace() time.Duration {
	switch {
	case c.Grace != nil:
		return time.Duration(*c.Grace)
	case c.Response == retrain:
		return retrainGrace
	default:
		return 0
	}
}

// CheckNames reports duplicate names of actions.
func CheckNames(actions []Config, at config.At) {
	seen := map[string]bool{}
	for _, a := range actions {
		if seen[a.Name] {
			at.Errorf("", "two actions are called %q", a.Name)
		}
		seen[a.Name] = true
	}
}

// matches reports whether an alert asks for the action.
func (c *Config) matches(labels map[string]string) bool {
	if labels["response"] != c.Response {
		return false
	}
	for name, value := range c.Match {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// environment are the labels that distinguish objects of the same name, where an alert has them. What happens in staging never
// holds back production.
var environment = []string{"cluster", "namespace"}

// object returns the object to which the cooldown applies.
func (c *Config) object(labels map[string]string) string {
	parts := c.name(labels)
	for _, name := range environment {
		if labels[name] != "" && !slices.Contains(c.ObjectLabels, name) {
			parts = append(parts, name, labels[name])
		}
	}
	return join(parts)
}

// anyObject returns the object under which the state has what was decided before objects had a cluster and a namespace. It
// applies to all of them until it ends (see store.objectsWithEnvironment).
func (c *Config) anyObject(labels map[string]string) string { return "any/" + join(c.name(labels)) }

// budget returns the name of the daily budget that the alert's action is charged to.
func (c *Config) budget(labels map[string]string) string {
	parts := []string{c.Name}
	for _, name := range environment {
		if labels[name] != "" {
			parts = append(parts, name, pathEscape(labels[name]))
		}
	}
	return strings.Join(parts, "/")
}

// name returns the parts of an object's name without cluster and namespace.
func (c *Config) name(labels map[string]string) []string {
	parts := []string{c.Response}
	switch {
	case labels["model"] != "":
		parts = append(parts, "model", labels["model"])
	case labels["dataset"] != "":
		parts = append(parts, "dataset", labels["dataset"])
	default:
		// An alert about neither gets an object of its own. Otherwise one such alert would hold back all others.
		parts = append(parts, "alert", labels["alertname"])
	}
	for _, name := range c.ObjectLabels {
		parts = append(parts, name, labels[name])
	}
	return parts
}

func join(parts []string) string {
	for i, part := range parts {
		parts[i] = pathEscape(part)
	}
	return strings.Join(parts, "/")
}
