package convention

import (
	"strings"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Finish is why a language model stopped.
type Finish uint8

// Finish reasons. NoFinish means that the span has none.
const (
	NoFinish Finish = iota
	Stop
	Length
	ToolCalls
	ContentFilter
	FailedFinish
	OtherFinish
	Finishes // number of reasons
)

// String is the value of the label reason.
func (f Finish) String() string {
	return [Finishes]string{"", "stop", "length", "tool_calls", "content_filter", "error", "other"}[f]
}

// finishes maps the providers' names of the reasons, in lower case and with underscores.
var finishes = map[string]Finish{
	"": NoFinish, "stop": Stop, "end_turn": Stop, "stop_sequence": Stop, "eos": Stop, "complete": Stop, "completed": Stop,
	"length": Length, "max_tokens": Length, "max_output_tokens": Length, "incomplete": Length,
	"tool_calls": ToolCalls, "tool_call": ToolCalls, "tool_use": ToolCalls, "function_call": ToolCalls,
	"content_filter": ContentFilter, "content_filtered": ContentFilter, "refusal": ContentFilter, "safety": ContentFilter,
	"prohibited_content": ContentFilter, "blocklist": ContentFilter, "recitation": ContentFilter, "spii": ContentFilter,
	"guardrail_intervened": ContentFilter,
	"error":                FailedFinish, "failed": FailedFinish,
}

// maxFinish is longer than every known reason.
const maxFinish = 32

// finish reads the reason of the first choice. Clients that cannot send lists write them as JSON.
func finish(v otlp.Value) Finish {
	name := strings.Trim(v.First().Text(), `[]"' `)
	if first, _, several := strings.Cut(name, ","); several {
		name = strings.Trim(first, `"' `)
	}
	if len(name) > maxFinish {
		return OtherFinish
	}
	if f, known := finishes[strings.ReplaceAll(strings.ToLower(name), "-", "_")]; known {
		return f
	}
	return OtherFinish
}

// StepKind is the kind of an agent's step.
type StepKind uint8

// Kinds of steps.
const (
	NoStep StepKind = iota
	Tool
	Agent
	Retrieval
	stepKinds
)

// String is the value of the label kind.
func (k StepKind) String() string {
	return [stepKinds]string{"", "tool", "agent", "retrieval"}[k]
}

// Step is a call of a tool, an agent or a retriever.
type Step struct {
	Kind   StepKind
	Name   string
	Failed bool
}

// steps are the kinds of operations that are steps, in lower case.
var steps = [stepKinds][]string{Tool: {"execute_tool", "tool"}, Agent: {"invoke_agent", "agent"}, Retrieval: {"retrieval", "retriever"}}

// step adds the step of a span that is not an inference.
func (r *Reader) step(in *reading, s *otlp.Span) {
	step := Step{Name: in.text(roleTool), Failed: s.Status == otlp.StatusError || in.has(roleErrorType)}
	for _, x := range kinds {
		for kind := Tool; kind < stepKinds && step.Kind == NoStep && in.has(x); kind++ {
			if isA(in.text(x), steps[kind]) {
				step.Kind = kind
			}
		}
	}
	if step.Kind == NoStep && step.Name != "" && in.set&kindRoles == 0 {
		step.Kind = Tool // Vercel's tool spans have no kind
	}
	switch step.Kind {
	case NoStep:
		return
	case Agent:
		step.Name = in.text(roleAgent)
	case Retrieval:
		step.Name = in.text(roleDataSource)
	}
	if step.Name == "" {
		// GenAI's span names have the operation before the name.
		step.Name = s.Name
		for _, prefix := range []string{"execute_tool ", "invoke_agent ", "retrieval "} {
			step.Name = strings.TrimPrefix(step.Name, prefix)
		}
	}
	r.Batch.Steps = append(r.Batch.Steps, step)
}
