// Package bigquery is a database/sql driver for Google BigQuery.
//
// Input: a DSN and statements. Output: rows with values in Go types. State: none. It never writes, and it has no parameters,
// transactions or prepared statements, because package tables does not use them. A statement that asks for no rows (LIMIT 0) becomes a
// dry run, which returns the columns at no cost.
package bigquery

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	bq "google.golang.org/api/bigquery/v2"
	"google.golang.org/api/option"
)

// Config configures the connection.
type Config struct {
	// Project runs and pays for the queries. Location is the region of the data; if it is empty, BigQuery determines it.
	Project, Location string
	// Credentials is the path of a service account's key. Without it, the credentials of the environment are used: workload identity,
	// or GOOGLE_APPLICATION_CREDENTIALS.
	Credentials string
	// MaxBytesBilled makes a query fail, before it runs, if it would be billed for more bytes. 0 means no limit except the project's.
	MaxBytesBilled int64
	// Endpoint is the URL of another server, such as an emulator. It is used without authentication.
	Endpoint string
}

const want = "want bigquery://PROJECT?location=EU&credentials=/path/of/key.json&max_bytes_billed=100000000000, all but the project optional"

// Parse parses a DSN.
func Parse(dsn string) (Config, error) {
	u, err := url.Parse(dsn)
	if err != nil || u.Scheme != "bigquery" || u.Host == "" || strings.Trim(u.Path, "/") != "" {
		return Config{}, errors.New("no address of BigQuery; " + want)
	}
	c := Config{Project: u.Host}
	for key, values := range u.Query() {
		value := values[len(values)-1]
		switch key {
		case "location":
			c.Location = value
		case "credentials":
			c.Credentials = value
		case "endpoint":
			c.Endpoint = value
		case "max_bytes_billed":
			if c.MaxBytesBilled, err = strconv.ParseInt(value, 10, 64); err != nil || c.MaxBytesBilled <= 0 {
				return Config{}, fmt.Errorf("max_bytes_billed %q: want a number of bytes above 0", value)
			}
		default:
			return Config{}, fmt.Errorf("unknown setting %q; %s", key, want)
		}
	}
	return c, nil
}

// Connector creates connections. A connection has no state at BigQuery.
type Connector struct{ cfg Config }

// NewConnector returns a connector for the DSN.
func NewConnector(dsn string) (*Connector, error) {
	cfg, err := Parse(dsn)
	return &Connector{cfg}, err
}

// Driver implements driver.Connector.
func (c *Connector) Driver() driver.Driver { return nil }

// Connect implements driver.Connector. It reads the current credentials.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	options := []option.ClientOption{option.WithUserAgent("sightglass")}
	switch {
	case c.cfg.Endpoint != "":
		options = append(options, option.WithEndpoint(c.cfg.Endpoint), option.WithoutAuthentication())
	case c.cfg.Credentials != "":
		key, err := os.ReadFile(c.cfg.Credentials)
		if err != nil {
			return nil, fmt.Errorf("credentials: %w", err)
		}
		options = append(options, option.WithAuthCredentialsJSON(option.ServiceAccount, key))
	}
	service, err := bq.NewService(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, fmt.Errorf("connect to BigQuery: %w", err)
	}
	return &conn{c.cfg, service.Jobs}, nil
}

type conn struct {
	cfg  Config
	jobs *bq.JobsService
}

// Prepare implements driver.Conn.
func (*conn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

// Begin implements driver.Conn.
func (*conn) Begin() (driver.Tx, error) { return nil, errors.ErrUnsupported }

// Close implements driver.Conn.
func (*conn) Close() error { return nil }

// waitMs is the time in milliseconds that BigQuery waits for a result before it answers. The driver then asks again.
const waitMs = 10_000

// QueryContext implements driver.QueryerContext. It cancels the job if the context ends.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if len(args) > 0 {
		return nil, errors.ErrUnsupported
	}
	request := &bq.QueryRequest{
		Query: query, UseLegacySql: new(bool), Location: c.cfg.Location, TimeoutMs: waitMs, MaximumBytesBilled: c.cfg.MaxBytesBilled,
		FormatOptions: &bq.DataFormatOptions{UseInt64Timestamp: true},
		DryRun:        strings.HasSuffix(strings.TrimSpace(query), "LIMIT 0"),
		Labels:        map[string]string{"application": "sightglass"},
	}
	response, err := c.jobs.Query(c.cfg.Project, request).Context(ctx).Do()
	if err != nil {
		return nil, err
	}
	r := &rows{ctx: ctx, conn: c, schema: response.Schema, page: response.Rows, token: response.PageToken, job: response.JobReference}
	for done := response.JobComplete || request.DryRun; !done; {
		if done, err = r.next(); err != nil {
			r.cancel()
			return nil, err
		}
	}
	if r.schema == nil {
		return nil, errors.New("BigQuery told no columns; expected a SELECT")
	}
	return r, nil
}
