package main

import (
	"context"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/sightglass-ml/sightglass/responder"
)

func explainCommand(app *kingpin.Application, stdout io.Writer) commands {
	c := app.Command("explain", "Say which incident an alert is a part of, what probably caused it, and what was done about it.")
	what := c.Arg("alert", "Name or fingerprint of an alert, or ID of an incident.").Required().String()
	var o responder.ExplainOptions
	c.Flag("responder.url", "Address of the responder, such as http://responder:10914.").Envar("SIGHTGLASS_RESPONDER_URL").StringVar(&o.Responder)
	c.Flag("responder.http-config", "Path of a file with http_client: {basic_auth: {username: …, password_file: …}}, the login of the responder's page.").Envar("SIGHTGLASS_RESPONDER_HTTP_CONFIG").StringVar(&o.ResponderHTTP)
	c.Flag("prometheus.url", "Address of Prometheus, which is asked where the responder does not know the alert or is not given.").Envar("SIGHTGLASS_PROMETHEUS_URL").StringVar(&o.Prometheus)
	c.Flag("prometheus.http-config", "Path of a file with http_client, for Prometheus.").Envar("SIGHTGLASS_PROMETHEUS_HTTP_CONFIG").StringVar(&o.PrometheusHTTP)
	c.Flag("postmortem", "Write a post-mortem in Markdown instead.").BoolVar(&o.Postmortem)

	return commands{c.FullCommand(): func(ctx context.Context) error {
		o.Width, o.Now = terminalWidth(), time.Now
		return responder.Explain(ctx, stdout, *what, o)
	}}
}

// terminalWidth returns $COLUMNS, or 100 if it is not set.
func terminalWidth() int {
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	return 100
}
