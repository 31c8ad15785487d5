package bill

import "context"

// CountDeliveries lists the source without reading a bill, and returns the numbers of files and deliveries.
func (l *Ledger) CountDeliveries(ctx context.Context) (files, deliveries int, err error) {
	all, _, err := l.list(ctx)
	for _, d := range all {
		files += len(d.files)
	}
	return files, len(all), err
}
