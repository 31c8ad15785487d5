package bill

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// query is the SQL for one file.
type query struct{ sums, problems string }

// required are the columns without which a file is no bill.
func (r *Reader) required() []string {
	return []string{r.options.Cost.column(), "BillingCurrency", "BillingPeriodStart", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory"}
}

// formats are those of times in real files. FOCUS wants the first; the others come without T, Z or seconds, with
// fractions, or with another zone.
var formats = []string{
	"%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%MZ", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M",
	"%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z",
	"%Y-%m-%dT%H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S UTC", "%m/%d/%Y",
}

func (r *Reader) query(f file) (query, error) {
	var missing []string
	for _, name := range r.required() {
		if f.columns[strings.ToLower(name)] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		return query{}, fmt.Errorf("has no column %s, expected those of FOCUS 1.0 or later", strings.Join(missing, ", "))
	}
	cost := r.options.Cost.column()
	// Most costs have at most six digits before the point, and reading those is several times as fast.
	lines := fmt.Sprintf(`
SELECT *,
  coalesce(CAST(TRY_CAST(cost_text AS DECIMAL(18, 12)) AS DECIMAL(38, 12)), TRY_CAST(cost_text AS DECIMAL(38, 12))) AS cost,
  CASE WHEN regexp_full_match(currency_text, '[A-Z]{3}') THEN currency_text END AS currency,
  %s AS period,
  %s AS charge_start,
  %s AS charge_end
FROM (
  SELECT %s AS cost_text, upper(%s) AS currency_text, %s AS period_text, %s AS start_text, %s AS end_text,
    coalesce(%s, '') AS charge_category, coalesce(%s, %s, '(none)') AS service, coalesce(%s, '(none)') AS category,
    coalesce(%s, '') AS subcategory, %s AS sub_account, %s AS sub_account_name,
    coalesce(%s, %s) AS provider, coalesce(%s, '') AS resource, %s AS tags
  FROM %s
)`,
		f.instant("period_text", "BillingPeriodStart"), f.instant("start_text", "ChargePeriodStart"), f.instant("end_text", "ChargePeriodEnd"),
		f.value(cost), f.value("BillingCurrency"), f.value("BillingPeriodStart"), f.value("ChargePeriodStart"), f.value("ChargePeriodEnd"),
		f.value("ChargeCategory"), f.value("ServiceName"), f.value("x_ServiceCode"), f.value("ServiceCategory"),
		f.value("ServiceSubcategory"), f.value("SubAccountId"), f.value("SubAccountName"),
		f.value("ServiceProviderName"), f.value("ProviderName"), f.value("ResourceId"), f.tags(), f.table)

	const problem = "(cost IS NULL OR currency IS NULL OR period IS NULL OR charge_start IS NULL OR charge_end IS NULL)"
	// Numbers are compared, which is much faster than intervals.
	const length = "(epoch_us(charge_end) - epoch_us(charge_start))"
	const running = "coalesce(lower(charge_category) = 'usage' AND " + length + " <= 172800000000, false)"
	observability := []string{"lower(subcategory) = 'observability'"}
	for _, rule := range r.options.Observability {
		observability = append(observability, rule.condition())
	}
	q := query{sums: fmt.Sprintf(`
SELECT %s AS problem, period, CAST(timezone(%s, make_timestamp(epoch_us(charge_start) + least(%s // 2, 43200000000)) AT TIME ZONE 'UTC') AS DATE), CAST(charge_start AS DATE), currency,
  %s, service, category, (%s), (%s), sum(cost), count(*), max(charge_end)
FROM (%s)
GROUP BY ALL`,
		problem, text(r.options.Zone.String()), length, department(r.options.Rules), strings.Join(observability, " OR "), running, lines)}
	q.problems = fmt.Sprintf(`
SELECT n,
  CASE WHEN cost IS NULL THEN %[1]s WHEN currency IS NULL THEN 'BillingCurrency' WHEN period IS NULL THEN 'BillingPeriodStart'
    WHEN charge_start IS NULL THEN 'ChargePeriodStart' ELSE 'ChargePeriodEnd' END,
  left(coalesce(CASE WHEN cost IS NULL THEN cost_text WHEN currency IS NULL THEN currency_text WHEN period IS NULL THEN period_text
    WHEN charge_start IS NULL THEN start_text ELSE end_text END, ''), 200),
  CASE WHEN cost IS NULL THEN 'a decimal number' WHEN currency IS NULL THEN 'an ISO 4217 code' ELSE 'a time such as 2026-01-31T00:00:00Z' END
FROM (SELECT row_number() OVER () AS n, * FROM (%[2]s))
WHERE %[3]s
ORDER BY n LIMIT %[4]d`, text(cost), lines, problem, maxProblems)
	return q, nil
}

// value is the text of a column, NULL if it is not there, empty, or says NULL.
func (f file) value(name string) string {
	column, ok := f.columns[strings.ToLower(name)]
	if !ok {
		return "NULL"
	}
	return fmt.Sprintf("nullif(nullif(trim(CAST(%s AS VARCHAR)), ''), 'NULL')", identifier(column))
}

// instant reads a text as a time in UTC. What the database has as a time already is written in a way that is read back.
func (f file) instant(textual, name string) string {
	quoted := make([]string, len(formats))
	for i, format := range formats {
		quoted[i] = text(format)
	}
	// A list with zones or fractions in it is slow for every row; those who write the first two do not pay for it.
	parsed := fmt.Sprintf("coalesce(try_strptime(%[1]s, [%[2]s]), CAST(try_strptime(%[1]s, [%[3]s]) AS TIMESTAMP))",
		textual, strings.Join(quoted[:2], ", "), strings.Join(quoted, ", "))
	if typ := f.types[strings.ToLower(name)]; typ == "VARCHAR" {
		return parsed
	}
	return fmt.Sprintf("TRY_CAST(%s AS TIMESTAMP)", textual)
}

// tags is a JSON object of text, or NULL. Parquet has them as a map, or as JSON.
func (f file) tags() string {
	typ := f.types["tags"]
	switch {
	case typ == "":
		return "NULL"
	case strings.HasPrefix(typ, "MAP"), strings.HasPrefix(typ, "STRUCT"):
		return "CAST(to_json(" + identifier(f.columns["tags"]) + ") AS VARCHAR)"
	}
	v := f.value("tags")
	return fmt.Sprintf("CASE WHEN json_valid(%s) AND json_type(%s) = 'OBJECT' THEN %s END", v, v, v)
}

// tag is the value of a tag, whatever the case of its key and the blanks around it.
func tag(key string) string {
	found := fmt.Sprintf("list_filter(json_keys(tags), lambda k: lower(trim(k)) = %s)[1]", text(strings.ToLower(strings.TrimSpace(key))))
	// The key as a JSON pointer, in which ~ and / are escaped.
	return fmt.Sprintf(`nullif(trim(json_extract_string(tags, '/' || replace(replace(%s, '~', '~0'), '/', '~1'))), '')`, found)
}

// condition is the SQL of everything that must hold.
func (r Rule) condition() string {
	all := []string{"true"}
	same := func(expr, value string) string {
		return fmt.Sprintf("coalesce(lower(%s) = %s, false)", expr, text(strings.ToLower(value)))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Tags)) {
		all = append(all, same(tag(key), r.Tags[key]))
	}
	if r.SubAccount != "" {
		all = append(all, "("+same("sub_account", r.SubAccount)+" OR "+same("sub_account_name", r.SubAccount)+")")
	}
	if r.Service != "" {
		all = append(all, same("service", r.Service))
	}
	if r.Provider != "" {
		all = append(all, same("provider", r.Provider))
	}
	if r.Resource != "" {
		all = append(all, fmt.Sprintf("regexp_full_match(resource, %s)", text(glob(r.Resource))))
	}
	return strings.Join(all, " AND ")
}

// glob is a regular expression of a glob.
func glob(pattern string) string {
	var b strings.Builder
	b.WriteString("(?is)")
	for _, c := range pattern {
		switch c {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(quoteMeta(c))
		}
	}
	return b.String()
}

func quoteMeta(c rune) string {
	if strings.ContainsRune(`\.+()|[]{}^$`, c) {
		return `\` + string(c)
	}
	return string(c)
}

// department is the SQL of the first rule that matches.
func department(rules []Rule) string {
	var b strings.Builder
	b.WriteString("CASE")
	for _, r := range rules {
		name := text(r.Department)
		condition := r.condition()
		switch {
		case r.FromTag != "":
			name = tag(r.FromTag)
			condition += " AND " + name + " IS NOT NULL"
		case r.FromSubAccount:
			name = "coalesce(sub_account_name, sub_account)"
			condition += " AND " + name + " IS NOT NULL"
		}
		fmt.Fprintf(&b, " WHEN %s THEN %s", condition, name)
	}
	if len(rules) == 0 {
		return text(Unallocated)
	}
	fmt.Fprintf(&b, " ELSE %s END", text(Unallocated))
	return b.String()
}

// text and identifier quote for SQL.
func text(s string) string       { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
func identifier(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
