package receiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.opentelemetry.io/collector/pdata/plog/plogotlp"
	"go.opentelemetry.io/collector/pdata/ptrace/ptraceotlp"
	"google.golang.org/grpc/codes"
)

const (
	// elementBytes is the memory of an array element while JSON is converted to protobuf. The worst case is an empty span, 3 bytes of JSON,
	// for which 263 bytes were measured. Slices grow by a quarter.
	elementBytes = 330
	// maxJSONDepth limits the nesting of values. A span's attribute has 9 levels.
	maxJSONDepth = 512
)

// fromJSON converts JSON to protobuf. It reserves the memory from the limit of all JSON requests before the conversion: the library holds a
// request completely as objects, and 3 bytes, `{},`, are one object.
func (r *Receiver) fromJSON(ctx context.Context, signal Signal, body []byte) ([]byte, *refusal) {
	elements, err := countElements(body)
	if err != nil {
		return nil, malformedJSON(err)
	}
	cost := 2*int64(len(body)) + elements*elementBytes
	if cost > r.MaxJSONMemory {
		return nil, refuse("too_large", codes.ResourceExhausted, http.StatusRequestEntityTooLarge,
			"the request has %d spans, attributes and the like in JSON, which take %d bytes of memory, and otlp.max_json_memory is %d; send smaller batches, or protobuf, which has no such limit", elements, cost, r.MaxJSONMemory)
	}
	queued, cancel := context.WithTimeout(ctx, r.Patience.Queue)
	defer cancel()
	if err := r.json.Acquire(queued, cost); err != nil {
		return nil, busy("other requests in JSON use the memory that otlp.max_json_memory gives them")
	}
	defer r.json.Release(cost)
	encoded, err := decodeJSON(signal, body)
	if err != nil {
		return nil, malformedJSON(err)
	}
	return encoded, nil
}

func malformedJSON(err error) *refusal {
	return refuse("malformed", codes.InvalidArgument, http.StatusBadRequest, "malformed OTLP: %v", err)
}

// countElements counts the elements of all arrays. For malformed JSON the count may be too high.
func countElements(body []byte) (int64, error) {
	var elements int64
	// arrays has for each level whether it is an array.
	arrays := make([]bool, 0, 16)
	for i := 0; i < len(body); i++ {
		switch body[i] {
		case '"':
			for i++; i < len(body) && body[i] != '"'; i++ {
				if body[i] == '\\' {
					i++
				}
			}
		case '[', '{':
			if len(arrays) == maxJSONDepth {
				return 0, fmt.Errorf("more than %d levels of values within others", maxJSONDepth)
			}
			arrays = append(arrays, body[i] == '[')
			if body[i] == '[' {
				elements++
			}
		case ']', '}':
			if len(arrays) == 0 {
				return 0, errors.New("a bracket that closes nothing")
			}
			arrays = arrays[:len(arrays)-1]
		case ',':
			if len(arrays) > 0 && arrays[len(arrays)-1] {
				elements++
			}
		}
	}
	return elements, nil
}

func decodeJSON(signal Signal, body []byte) (encoded []byte, err error) {
	defer func() {
		// The decoder panics on some malformed IDs.
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	if signal == Logs {
		request := plogotlp.NewExportRequest()
		if err := request.UnmarshalJSON(body); err != nil {
			return nil, err
		}
		return request.MarshalProto()
	}
	request := ptraceotlp.NewExportRequest()
	if err := request.UnmarshalJSON(body); err != nil {
		return nil, err
	}
	return request.MarshalProto()
}
