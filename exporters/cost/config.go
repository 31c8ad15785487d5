package cost

import (
	"fmt"
	"maps"
	"slices"
	"time"

	promconfig "github.com/prometheus/common/config"

	"github.com/sightglass-ml/sightglass/exporters/cost/internal/bill"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fiscal"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/fx"
	"github.com/sightglass-ml/sightglass/exporters/cost/internal/prices"
	"github.com/sightglass-ml/sightglass/internal/baseline"
	"github.com/sightglass-ml/sightglass/internal/config"
	"github.com/sightglass-ml/sightglass/internal/httpclient"
	"github.com/sightglass-ml/sightglass/internal/state"
)

// Config is the configuration file of the exporter.
type Config struct {
	config.Doc `yaml:"-"`

	// TimeZone is the time zone of the books. FiscalYearStart is the month, 1 to 12, in which their year begins.
	TimeZone        string `yaml:"time_zone"`
	FiscalYearStart int    `yaml:"fiscal_year_start"`
	// State is the folder that survives a restart: exchange rates and counters. The default is the folder "state" in
	// $STATE_DIRECTORY, or else beside the configuration file.
	State config.Path `yaml:"state"`

	Bills    BillsConfig     `yaml:"bills"`
	Budgets  []BudgetConfig  `yaml:"budgets,omitempty"`
	Exchange ExchangeConfig  `yaml:"exchange"`
	Prices   PricesConfig    `yaml:"prices,omitempty"`
	Metering *MeteringConfig `yaml:"metering,omitempty"`

	calendar fiscal.Calendar
	entries  []prices.Entry
}

// SetDefaults implements config.Defaulter.
func (c *Config) SetDefaults() {
	c.FiscalYearStart, c.State = 1, "state"
}

// Validate implements config.Validator.
func (c *Config) Validate(at config.At) {
	var err error
	if c.TimeZone == "" {
		c.TimeZone = string(at.TimeZone("time_zone", fiscal.DefaultZone))
	}
	if c.calendar, err = fiscal.New(c.TimeZone, time.Month(c.FiscalYearStart)); err != nil {
		key := "time_zone"
		if c.FiscalYearStart < 1 || c.FiscalYearStart > 12 {
			key = "fiscal_year_start"
		}
		at.Errorf(key, "%v", err)
	}
	if c.State == "state" {
		c.State = config.Path(at.State("state", "state"))
	}
	if c.entries, err = c.Prices.entries(); err != nil {
		at.Errorf("prices", "%v", err)
	}
	seen := make(map[string]bool)
	for i, b := range c.Budgets {
		key := b.Department + "\x00" + b.From.String()
		if seen[key] {
			at.Errorf(fmt.Sprintf("budgets[%d]", i), "%q has two budgets from the same month", b.Department)
		}
		seen[key] = true
	}
	if err == nil && len(c.Bills.Sources) == 0 && c.Metering == nil && len(c.entries) == 0 {
		at.Errorf("", "nothing to publish; want sources under bills, or metering")
	}
}

// BillsConfig configures the sources of bills and how bills are divided among departments.
type BillsConfig struct {
	// Interval is the time between two searches for new files.
	Interval config.Duration `yaml:"interval"`
	// Timeout bounds the reading of all new files.
	Timeout config.Duration `yaml:"timeout"`
	// Cost is effective, which spreads a purchase over the time that it covers, or billed.
	Cost bill.Cost `yaml:"cost"`
	// MemoryLimit and Threads are for reading. TempDirectory receives copies of objects.
	MemoryLimit   config.Bytes `yaml:"memory_limit"`
	Threads       int          `yaml:"threads"`
	TempDirectory config.Path  `yaml:"temp_directory,omitempty"`

	Sources []SourceConfig `yaml:"sources,omitempty"`
	// Departments are rules. The first one that matches a row decides.
	Departments []RuleConfig `yaml:"departments,omitempty"`
	// KeepCase keeps the case of department names from tags and sub-accounts, so that Search and SEARCH are two
	// departments.
	KeepCase bool `yaml:"keep_case,omitempty"`
	// Observability are rules for rows that pay for observability, besides FOCUS's subcategory of that name.
	Observability []ConditionConfig `yaml:"observability,omitempty"`
	// Metered are rules for rows that pay for metered usage, so that billed and metered cost can be compared. Without
	// rules all rows do.
	Metered []ConditionConfig `yaml:"metered,omitempty"`
	// GPUMachines are the numbers of GPUs in the machines that rows pay for.
	GPUMachines []GPUMachineConfig `yaml:"gpu_machines,omitempty"`
	// MaxDepartments, MaxServices bound the labels.
	MaxDepartments int `yaml:"max_departments"`
	MaxServices    int `yaml:"max_services"`
}

// SetDefaults implements config.Defaulter.
func (b *BillsConfig) SetDefaults() {
	b.Interval, b.Timeout = config.Duration(time.Hour), config.Duration(30*time.Minute)
	b.Cost, b.MemoryLimit, b.Threads = bill.Effective, 256<<20, 1
	b.MaxDepartments, b.MaxServices = 100, 200
}

// Validate implements config.Validator.
func (b *BillsConfig) Validate(at config.At) {
	if b.Cost != bill.Effective && b.Cost != bill.Billed {
		at.Errorf("cost", "%q; want effective or billed", string(b.Cost))
	}
	if b.Interval < config.Duration(time.Second) || b.Timeout < config.Duration(time.Second) {
		at.Errorf("interval", "interval and timeout must be at least 1s")
	}
	if b.MemoryLimit < 128<<20 {
		at.Errorf("memory_limit", "%s; want 128MiB or more", b.MemoryLimit)
	}
	if b.Threads < 1 || b.MaxDepartments < 1 || b.MaxServices < 1 {
		at.Errorf("", "threads, max_departments and max_services must be 1 or more")
	}
	seen := make(map[string]bool)
	for i, s := range b.Sources {
		if seen[s.Name] {
			at.Errorf(fmt.Sprintf("sources[%d].name", i), "%q is the name of two sources", s.Name)
		}
		seen[s.Name] = true
	}
}

// SourceConfig is the place where one provider delivers bills.
type SourceConfig struct {
	Name string `yaml:"name"`
	// Folder is a local folder, including subfolders.
	Folder config.Path `yaml:"folder,omitempty"`
	// Bucket is an object store, configured as in objstore. Its prefix is where the export writes.
	Bucket *baseline.Config `yaml:"bucket,omitempty"`
	// Deliveries is how a delivery changes earlier ones of the same billing period: replace, append, or auto. Auto
	// decides by the hours that the deliveries cover.
	Deliveries bill.Deliveries `yaml:"deliveries"`
	// Delivery defines which files are one delivery: folder or file.
	Delivery bill.Grouping `yaml:"delivery"`
	// Settle is the time for which a delivery without a manifest must be unchanged before it counts.
	Settle config.Duration `yaml:"settle"`
}

// SetDefaults implements config.Defaulter.
func (s *SourceConfig) SetDefaults() {
	s.Deliveries, s.Delivery, s.Settle = bill.Auto, bill.ByFolder, config.Duration(10*time.Minute)
}

// Validate implements config.Validator.
func (s *SourceConfig) Validate(at config.At) {
	if s.Name == "" {
		at.Errorf("name", "missing; want a name for the source")
	}
	if (s.Folder == "") == (s.Bucket == nil) {
		at.Errorf("", "want exactly one of folder and bucket")
	}
	switch s.Deliveries {
	case bill.Auto, bill.Replace, bill.Append:
	default:
		at.Errorf("deliveries", "%q; want auto, replace or append (which files are one delivery is delivery: folder or file)", string(s.Deliveries))
	}
	if s.Delivery != bill.ByFolder && s.Delivery != bill.ByFile {
		at.Errorf("delivery", "%q; want folder or file", string(s.Delivery))
	}
	if s.Settle < 0 {
		at.Errorf("settle", "%s; want 0s or more", s.Settle)
	}
	if s.Folder != "" {
		at.CheckFolder("folder", string(s.Folder))
	}
	if s.Bucket != nil && s.Bucket.Type == "" {
		at.Errorf("bucket.type", "missing; want FILESYSTEM, S3, GCS, AZURE or another provider of objstore")
	}
}

// ConditionConfig are conditions on a row. All of them must hold.
type ConditionConfig struct {
	Tags       map[string]string `yaml:"tags,omitempty"`
	SubAccount string            `yaml:"sub_account,omitempty"`
	Service    string            `yaml:"service,omitempty"`
	Provider   string            `yaml:"provider,omitempty"`
	Resource   string            `yaml:"resource,omitempty"`
	// Description is a glob of ChargeDescription.
	Description string `yaml:"description,omitempty"`
}

func (c ConditionConfig) rule() bill.Rule {
	return bill.Rule{Tags: c.Tags, SubAccount: c.SubAccount, Service: c.Service, Provider: c.Provider, Resource: c.Resource, Description: c.Description}
}

// GPUMachineConfig is the number of GPUs in a machine.
type GPUMachineConfig struct {
	ConditionConfig `yaml:",inline"`
	GPUs            float64 `yaml:"gpus"`
}

// SetDefaults implements config.Defaulter.
func (g *GPUMachineConfig) SetDefaults() { g.GPUs = 1 }

// Validate implements config.Validator.
func (g *GPUMachineConfig) Validate(at config.At) {
	if !(g.GPUs > 0) {
		at.Errorf("gpus", "%v; want how many GPUs the machine has", g.GPUs)
	}
	if g.Description == "" && g.Resource == "" && g.Service == "" && g.SubAccount == "" && g.Provider == "" && len(g.Tags) == 0 {
		at.Errorf("", "no condition, which counts every line; want a description such as \"*p5.48xlarge*\"")
	}
}

// RuleConfig allocates rows to a department.
type RuleConfig struct {
	ConditionConfig `yaml:",inline"`
	Department      string `yaml:"department,omitempty"`
	FromTag         string `yaml:"from_tag,omitempty"`
	FromSubAccount  bool   `yaml:"from_sub_account,omitempty"`
}

// Validate implements config.Validator.
func (r *RuleConfig) Validate(at config.At) {
	n := 0
	for _, given := range []bool{r.Department != "", r.FromTag != "", r.FromSubAccount} {
		if given {
			n++
		}
	}
	if n != 1 {
		at.Errorf("", "%d of department, from_tag and from_sub_account are given; want exactly one", n)
	}
}

func (r RuleConfig) rule() bill.Rule {
	rule := r.ConditionConfig.rule()
	rule.Department, rule.FromTag, rule.FromSubAccount = r.Department, r.FromTag, r.FromSubAccount
	return rule
}

// Month is a calendar month, as in 2026-04.
type Month struct{ year, month int }

// Want is the expected form, for error messages.
func (Month) Want() string { return "a month such as 2026-04" }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Month) UnmarshalText(text []byte) error {
	t, err := time.Parse("2006-01", string(text))
	if err != nil {
		return fmt.Errorf("%q; want %s", text, m.Want())
	}
	m.year, m.month = t.Year(), int(t.Month())
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (m Month) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m Month) String() string {
	if m == (Month{}) {
		return ""
	}
	return fmt.Sprintf("%04d-%02d", m.year, m.month)
}

// after reports whether the month is later than that of a period.
func (m Month) after(p fiscal.Period) bool {
	return m.year*12+m.month > p.Start.Year()*12+int(p.Start.Month())
}

// BudgetConfig is the budget of a department for a month.
type BudgetConfig struct {
	Department string `yaml:"department"`
	// Monthly is the budget in Canadian dollars.
	Monthly float64 `yaml:"monthly_cad"`
	// From is the first month of this budget. It is valid until the department's next budget.
	From Month `yaml:"from,omitempty"`
}

// Validate implements config.Validator.
func (b *BudgetConfig) Validate(at config.At) {
	if b.Department == "" {
		at.Errorf("department", "missing; want the name of a department")
	}
	if !(b.Monthly > 0) {
		at.Errorf("monthly_cad", "%v; want Canadian dollars, more than 0", b.Monthly)
	}
}

// ExchangeConfig configures the sources of exchange rates.
type ExchangeConfig struct {
	// Online queries the Bank of Canada, then the European Central Bank.
	Online   bool            `yaml:"online"`
	Interval config.Duration `yaml:"interval"`
	Timeout  config.Duration `yaml:"timeout"`
	ValetURL string          `yaml:"valet_url"`
	ECBURL   string          `yaml:"ecb_url"`
	// HTTPClient is TLS, proxy and headers in Prometheus's form (http_config), for both.
	HTTPClient config.Raw `yaml:"http_client,omitempty"`
	// History is the retention of rates for bills.
	History config.Duration `yaml:"history"`
	// InvoiceRates prefers the rate in the row of a bill to the bank's rate.
	InvoiceRates bool `yaml:"invoice_rates,omitempty"`
	// Rates are Canadian dollars for one unit. They are used if no bank's rate is known.
	Rates map[string]float64 `yaml:"rates,omitempty"`

	client promconfig.HTTPClientConfig
}

// SetDefaults implements config.Defaulter.
func (e *ExchangeConfig) SetDefaults() {
	e.Online, e.Interval, e.Timeout = true, config.Duration(time.Hour), config.Duration(time.Minute)
	e.ValetURL, e.ECBURL = fx.DefaultValetURL, fx.DefaultECBURL
	e.History = config.Duration(400 * 24 * time.Hour)
}

// Validate implements config.Validator.
func (e *ExchangeConfig) Validate(at config.At) {
	e.client = httpclient.Check(e.HTTPClient, at, "", false)
	if e.Online {
		at.CheckURL("valet_url", e.ValetURL)
		at.CheckURL("ecb_url", e.ECBURL)
	}
	for _, currency := range slices.Sorted(maps.Keys(e.Rates)) {
		rate := e.Rates[currency]
		if !fx.ISO(currency) || currency == fx.CAD || !(rate > 0) {
			at.Errorf("rates."+currency, "%v; want an ISO 4217 code other than CAD, and Canadian dollars for one unit", rate)
		}
	}
	if e.Interval < config.Duration(time.Second) || e.Timeout < config.Duration(time.Second) || e.History < 0 {
		at.Errorf("", "interval and timeout must be at least 1s, and history not negative")
	}
}

// temp is the folder for copies of objects.
func (c Config) temp() string {
	if c.Bills.TempDirectory != "" {
		return string(c.Bills.TempDirectory)
	}
	return state.Temp(string(c.State))
}
