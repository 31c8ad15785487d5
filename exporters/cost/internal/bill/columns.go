package bill

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// column is a column of a record that the reader uses.
type column int

const (
	colCost column = iota
	colCurrency
	colPeriod
	colStart
	colEnd
	colChargeCategory
	colChargeClass
	colService
	colServiceCode
	colCategory
	colSubcategory
	colSubAccount
	colSubAccountName
	colBillingAccount
	colBillingAccountType
	colProvider
	colProviderName
	colResource
	colTags
	colDescription
	colQuantity
	colUnit
	colPricingCurrency
	colExchangeRate
	columnCount
)

// names are the names in FOCUS. The name of the cost column depends on the options.
var names = [columnCount]string{
	"", "BillingCurrency", "BillingPeriodStart", "ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ChargeClass", "ServiceName",
	"x_ServiceCode", "ServiceCategory", "ServiceSubcategory", "SubAccountId", "SubAccountName", "BillingAccountId", "BillingAccountType", "ServiceProviderName", "ProviderName",
	"ResourceId", "Tags", "ChargeDescription", "ConsumedQuantity", "ConsumedUnit", "PricingCurrency", "x_BillingExchangeRate",
}

// required are the columns that every bill has. A file without one of them is not a bill.
var required = []column{colCost, colCurrency, colPeriod, colStart, colEnd, colChargeCategory}

// plain is a column's name without the differences that tools introduce: case, blanks, and the underscores of
// snake_case.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", " ", "", "\t", "").Replace(strings.TrimSpace(name)))
}

// layout is the position of each column in a record, or -1 if it is absent.
type layout [columnCount]int

func (r *Reader) name(c column) string {
	if c == colCost {
		return r.options.Cost.column()
	}
	return names[c]
}

// layoutOf finds the columns in the header of a file.
func (r *Reader) layoutOf(header []string) (layout, error) {
	at := make(map[string]int, len(header))
	for i, name := range header {
		key := plain(name)
		if _, twice := at[key]; twice && key != "" {
			return layout{}, fmt.Errorf("line 1: column %d: %q is there twice", i+1, strings.TrimSpace(name))
		}
		at[key] = i
	}
	var l layout
	for c := range columnCount {
		l[c] = -1
		if i, ok := at[plain(r.name(c))]; ok {
			l[c] = i
		}
	}
	var missing []string
	for _, c := range required {
		if l[c] < 0 {
			missing = append(missing, r.name(c))
		}
	}
	if len(missing) == 0 {
		return l, nil
	}
	if dataset := otherDataset(header); dataset != "" {
		return layout{}, fmt.Errorf("%w: it is FOCUS's %s", errOtherDataset, dataset)
	}
	return layout{}, fmt.Errorf("has no column %s; %s", strings.Join(missing, ", "), advice(header))
}

// errOtherDataset means that a file is a FOCUS dataset without charges.
var errOtherDataset = errors.New("no charges in it")

// otherDataset returns the name of another FOCUS dataset. FOCUS has them from 1.3 on, and providers write them beside
// the charges.
func otherDataset(header []string) string {
	for prefix, dataset := range map[string]string{"contractcommitment": "ContractCommitment", "invoicedetail": "InvoiceDetail"} {
		if slices.ContainsFunc(header, func(name string) bool { return strings.HasPrefix(plain(name), prefix) }) &&
			!slices.ContainsFunc(header, func(name string) bool { return plain(name) == "chargeperiodstart" }) {
			return dataset
		}
	}
	return ""
}

// formats are other formats of providers, each recognised by columns that no other format has.
var formats = []struct {
	columns      []string
	name, remedy string
}{
	{[]string{"identity/lineitemid", "lineitem/unblendedcost"}, "AWS's Cost and Usage Report", "make a data export of the table FOCUS in AWS Billing, Data Exports"},
	{[]string{"identitylineitemid", "lineitemunblendedcost"}, "AWS's Cost and Usage Report 2.0", "make a data export of the table FOCUS in AWS Billing, Data Exports"},
	{[]string{"costinbillingcurrency", "pretaxcost", "metercategory"}, "Azure's actual or amortized cost", "make an export of the type \"Cost and usage details (FOCUS)\" in Azure Cost Management"},
	{[]string{"cost/mycost"}, "OCI's cost report", "take the FOCUS reports from the same bucket, in its folder \"FOCUS Reports\""},
	{[]string{"lineitem/intervalusagestart"}, "OCI's usage report", "take the FOCUS reports from the same bucket, in its folder \"FOCUS Reports\""},
	{[]string{"usagestarttime"}, "Google's billing export", "make Google's FOCUS view in BigQuery and export it"},
}

// advice describes which format a header seems to have, and what to do.
func advice(header []string) string {
	plainNames := make([]string, len(header))
	for i, name := range header {
		plainNames[i] = plain(name)
	}
	names := strings.Join(header[:min(len(header), 8)], ", ")
	if len(header) > 8 {
		names += fmt.Sprintf(", and %d more", len(header)-8)
	}
	for _, f := range formats {
		if slices.ContainsFunc(f.columns, func(c string) bool { return slices.Contains(plainNames, c) }) {
			return fmt.Sprintf("the file has %.300q: it looks like %s, and not like FOCUS: %s", names, f.name, f.remedy)
		}
	}
	return fmt.Sprintf("expected those of FOCUS 1.0 or later, and the file has %.300q", names)
}
