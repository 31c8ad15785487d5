package modelquality

import (
	"time"

	"go.opentelemetry.io/collector/pdata/pcommon"
)

func timestamp(t time.Time) pcommon.Timestamp { return pcommon.NewTimestampFromTime(t) }
