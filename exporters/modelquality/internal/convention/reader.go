package convention

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sightglass-ml/sightglass/exporters/modelquality/internal/otlp"
)

// Reader converts spans and records to a Batch. It implements otlp.Visitor. Only one goroutine may use it.
type Reader struct {
	Convention *Convention
	Batch      *Batch

	resource, item, event reading
	// origin is the resource's origin; nil until a span needs it.
	origin *Origin
	// last caches the keys of the previous span with their meanings, because most spans have the same keys in the same order. The keys are
	// parts of the request, so each resource clears the cache.
	last []keyed
	far  keyed
	// name and phase are those of the previous span. Each resource clears them too.
	name  string
	phase Phase
	body  []otlp.Attribute
}

// maxPositions limits the cached keys of a span: a long chat has thousands of attributes without a meaning.
const maxPositions = 1024

// keyed is a key with its meaning.
type keyed struct {
	key  string
	slot *slot // or nil
	// prefix is the length of the feature prefix or feature time prefix; 0 if the key has neither.
	prefix int
	time   bool
}

// meaning returns the meaning of a key that the previous span did not have at this position.
func (r *Reader) meaning(position int, key string) *keyed {
	c := r.Convention
	k := keyed{key: key, slot: c.slots[key]}
	switch {
	case k.slot != nil:
	case strings.HasPrefix(key, c.feature):
		k.prefix = len(c.feature)
	case strings.HasPrefix(key, c.time):
		k.prefix, k.time = len(c.time), true
	}
	switch {
	case position >= maxPositions:
		r.far = k
		return &r.far
	case position == len(r.last): // Positions are added in order.
		r.last = append(r.last, k)
	default:
		r.last[position] = k
	}
	return &r.last[position]
}

var _ otlp.Visitor = (*Reader)(nil)

// reading has the values of a set of attributes, by role.
type reading struct {
	set    uint64
	ranks  [roles]uint8
	units  [roles]float64
	values [roles]otlp.Value
}

func (r *reading) has(x role) bool { return r.set&(1<<x) != 0 }

// judges reports whether there is an evaluation: a name, and a score or label.
func (r *reading) judges() bool {
	return r.has(roleEvaluation) && (r.has(roleScore) || r.has(roleLabel))
}

func (r *reading) text(x role) string {
	if !r.has(x) {
		return ""
	}
	return r.values[x].Text()
}

// number returns NaN if there is no finite number.
func (r *reading) number(x role) float64 {
	if r.has(x) {
		if f, ok := r.values[x].Number(); ok && !math.IsInf(f, 0) {
			return f
		}
	}
	return nan
}

// atLeastZero is number for values that cannot be negative, such as durations and token counts.
func (r *reading) atLeastZero(x role) float64 {
	if f := r.number(x); f >= 0 {
		return f
	}
	return nan
}

// instant returns a Unix time in seconds, which can also be JSON.
func (r *reading) instant(x role) (float64, bool) {
	if !r.has(x) {
		return 0, false
	}
	v := r.values[x]
	if v.Kind == otlp.String {
		v = otlp.StringValue(strings.Trim(v.Text(), `"`))
	}
	age, ok := ageOf(v, 0)
	return -age, ok
}

func (r *reading) seconds(x role) float64 { return r.atLeastZero(x) * r.units[x] }

func (r *reading) put(s *slot, v otlp.Value) {
	if r.has(s.role) && r.ranks[s.role] <= s.rank {
		return
	}
	if s.quoted {
		if t := v.Text(); len(t) > 1 && t[0] == '"' && t[len(t)-1] == '"' {
			v = otlp.StringValue(t[1 : len(t)-1])
		}
	}
	r.set |= 1 << s.role
	r.ranks[s.role], r.units[s.role], r.values[s.role] = s.rank, s.unit, v
}

// about are the roles that identify the model or the origin. All other roles describe the inference.
const about = aboutModel | origins

const (
	aboutModel = 1<<roleModel | 1<<roleVersion | 1<<roleRun
	origins    = 1<<roleRegion | 1<<roleClient | 1<<roleInstance
)

// Resource implements otlp.Visitor. Resource attributes are the fallback for spans that do not have them.
func (r *Reader) Resource(attributes []otlp.Attribute) {
	r.resource.set, r.last, r.origin = 0, r.last[:0], nil
	r.name, r.phase = "", r.Convention.phases[""]
	for i := range attributes {
		if s := r.Convention.slots[attributes[i].Key]; s != nil && about&(1<<s.role) != 0 {
			text := *s
			text.rank = math.MaxUint8
			r.resource.put(&text, attributes[i].Value)
		}
	}
}

// begin initializes a reading with the resource's values.
func (r *Reader) begin(in *reading) {
	in.set = r.resource.set & aboutModel // The origin is read when a span needs it.
	for x := roleModel; x <= roleRun; x++ {
		if in.has(x) {
			in.ranks[x], in.values[x] = r.resource.ranks[x], r.resource.values[x]
		}
	}
}

// Span implements otlp.Visitor.
func (r *Reader) Span(s *otlp.Span) {
	b, c := r.Batch, r.Convention
	in := &r.item
	r.begin(in)
	all, firstTime := b.features, len(b.times)
	for i := range s.Attributes {
		a := &s.Attributes[i]
		var k *keyed
		if i < len(r.last) && r.last[i].key == a.Key {
			k = &r.last[i]
		} else {
			k = r.meaning(i, a.Key)
		}
		switch {
		case k.slot != nil:
			in.put(k.slot, a.Value)
		case k.prefix == 0:
		case !k.time:
			// Written in position: a copy of the assembled struct would stall the processor.
			if len(all)-len(b.features) >= c.maxAttributes {
				b.refuse("a span has more features than otlp.max_attributes")
				return
			}
			all = slices.Grow(all, 1)[:len(all)+1]
			f := &all[len(all)-1]
			// The cached key comes from the first span, so its bytes are still in the processor's cache.
			f.Name, f.Value = k.key[k.prefix:], a.Value
			if a.Value.Kind == otlp.List {
				f.Value = b.vector(a.Value)
			}
		default:
			if age, ok := ageOf(a.Value, s.Start); ok && len(b.times)-firstTime < c.maxAttributes {
				b.times = append(b.times, FeatureTime{a.Key[k.prefix:], age})
			}
		}
	}
	if in.has(roleEmbedding) {
		all = append(all, Feature{embedding, b.vector(in.values[roleEmbedding])})
	}
	features := all[len(b.features):len(all):len(all)]
	b.features = all

	if s.Name != r.name {
		r.name, r.phase = s.Name, c.phases[s.Name]
	}
	phase := r.phase
	if s.Dropped > 0 {
		b.DroppedAttributes++
	}
	index := -1
	inference, why := r.isInference(in, len(features) > 0)
	if phase != InferencePhase || inference {
		if s.End < s.Start || s.Start == 0 || s.End > math.MaxInt64 {
			b.refuse("a span ends before it starts, or has no times")
			return
		}
		index = len(b.Observations)
		o := b.add()
		if phase != InferencePhase {
			b.NestedSpans++
		}
		o.Phase, o.Features, o.FeatureTimes = phase, features, b.times[firstTime:len(b.times):len(b.times)]
		r.observe(o, in, s)
	}
	before := len(b.Evaluations)
	if len(s.Events) > 0 {
		r.events(s, in, index)
	}
	if c.texts != nil && index >= 0 && phase == InferencePhase {
		r.measure(&b.Observations[index], in)
	}
	if index >= 0 {
		b.Observations[index].Has = b.Observations[index].has()
	}
	if index < 0 && in.set&(kindRoles|1<<roleTool) != 0 {
		r.step(in, s)
	}
	if index < 0 && s.ID != (otlp.SpanID{}) {
		b.Links = append(b.Links, Link{s.Trace, s.ID, s.Parent})
	}
	if index < 0 && len(b.Evaluations) == before && !r.evaluation(in, s, index) {
		b.Ignored[why]++
	} else if index >= 0 && in.has(roleEvaluation) {
		r.evaluation(in, s, index)
	}
}

// isInference reports whether a span is an inference, and otherwise the reason. It is one if it names a model or has the kind of an inference, and
// does not have another kind. A name in the first attribute, ml.model.name, is always sufficient.
func (r *Reader) isInference(in *reading, features bool) (bool, Reason) {
	named := in.text(roleModel) != ""
	switch {
	case named && in.ranks[roleModel] == 0:
		// An evaluator's span names the evaluated model.
		return features || !in.has(roleEvaluation), NoModel
	case named && in.ranks[roleModel] == math.MaxUint8 && in.set&hostedRoles == 0:
		// The resource names the model for every span of the service, including those of its web server. An inference has further
		// attributes.
		return features || in.set&^(about|1<<roleErrorType|1<<roleStatusCode|1<<roleGRPCCode|1<<roleEvaluation|1<<roleScore|1<<roleLabel|1<<roleExplanation) != 0, NoModel
	}
	hasKind, isInference := false, false
	for _, x := range kinds {
		if !in.has(x) {
			continue
		}
		hasKind = true
		if isA(in.text(x), others) {
			return false, OtherOperation
		}
		isInference = isInference || isA(in.text(x), inferences)
	}
	if isInference {
		return true, NoModel
	}
	if named && in.ranks[roleModel] != math.MaxUint8 || in.has(roleResponseModel) {
		// The plain attribute model names a model only if the span has a kind (MLflow).
		return hasKind || in.has(roleResponseModel) || in.ranks[roleModel] < r.Convention.plain, NoModel
	}
	return false, NoModel
}

// kinds are the roles that give the kind of operation of a span.
var kinds = [...]role{roleOperation, roleSpanKind, roleSpanType, roleWorkflow, roleObservation}

const kindRoles = 1<<roleOperation | 1<<roleSpanKind | 1<<roleSpanType | 1<<roleWorkflow | 1<<roleObservation

// tokens are the roles by direction.
var tokens = [Directions]role{roleInputTokens, roleOutputTokens, roleCached, roleCacheWrite, roleReasoning}

const tokenRoles = 1<<roleInputTokens | 1<<roleOutputTokens | 1<<roleCached | 1<<roleCacheWrite | 1<<roleReasoning

const infoRoles = 1<<roleProvider | 1<<rolePrompt | 1<<rolePromptVersion

// hostedRoles are roles that only spans of hosted models have, even in a service that also serves its own model.
const hostedRoles = kindRoles | 1<<roleResponseModel

// Unknown is the model of an inference whose span names none.
const Unknown = "unknown"

// model determines the model that an inference calls.
func (r *Reader) model(o *Observation, in *reading) {
	named := in.has(roleModel) && in.text(roleModel) != "" && (in.ranks[roleModel] == 0 || in.ranks[roleModel] == math.MaxUint8 && in.set&hostedRoles == 0)
	if named {
		o.Model, o.Version, o.Run = in.text(roleModel), in.name(roleVersion), in.text(roleRun)
		if r.resource.has(roleModel) && r.resource.text(roleModel) != o.Model {
			r.notOfResource(o, in)
		}
		return
	}
	o.Hosted = true
	h := &r.Convention.hosted
	requestModel := ""
	if in.has(roleModel) && in.ranks[roleModel] != math.MaxUint8 {
		requestModel = in.text(roleModel)
	}
	if requestModel == "" {
		requestModel = requested(in.text(roleParameters))
	}
	responseModel := in.text(roleResponseModel)
	if requestModel == "" {
		requestModel, responseModel = responseModel, ""
	}
	if requestModel == "" {
		requestModel = Unknown
	}
	o.Model, o.Version, o.Run = h.name(requestModel), in.name(roleVersion), in.text(roleRun)
	r.notOfResource(o, in)
	if o.Version == "" && responseModel != "" {
		if v := h.name(responseModel); v != o.Model {
			o.Version = v
		}
	}
	if o.Version == "" {
		r.Batch.Unversioned++
	}
}

// notOfResource removes the version and the run if they come from the resource, which names another model.
func (r *Reader) notOfResource(o *Observation, in *reading) {
	if r.resource.has(roleVersion) && in.ranks[roleVersion] == math.MaxUint8 {
		o.Version = ""
	}
	if r.resource.has(roleRun) && in.ranks[roleRun] == math.MaxUint8 {
		o.Run = ""
	}
}

func (r *Reader) observe(o *Observation, in *reading, s *otlp.Span) {
	o.Trace, o.Span, o.Parent = s.Trace, s.ID, s.Parent
	o.ResponseID, o.Dropped = in.text(roleResponseID), s.Dropped > 0
	if s.State != "" {
		o.Weight = weight(s.State)
	}
	if o.Phase == InferencePhase {
		r.model(o, in)
	} else {
		o.Model, o.Version, o.Run = in.text(roleModel), in.name(roleVersion), in.text(roleRun)
	}
	if in.set&kindRoles != 0 { // without a kind it is most likely a self-hosted model
		for _, x := range kinds {
			o.Embeds = o.Embeds || in.has(x) && isA(in.text(x), []string{"embeddings", "embedding", "rerank", "reranker"})
		}
	}
	if (in.set|r.resource.set)&origins != 0 {
		o.Origin = r.originOf(in)
	}
	o.Duration = float64(s.End-s.Start) / 1e9
	o.QueueWait, o.ForwardPass, o.TimeToFirst = in.seconds(roleQueueWait), in.seconds(roleForwardPass), in.seconds(roleFirstToken)
	if at, ok := in.instant(roleFirstTokenAt); ok && at >= float64(s.Start)/1e9 && math.IsNaN(o.TimeToFirst) {
		o.TimeToFirst = at - float64(s.Start)/1e9
	}
	if o.Confidence = in.number(roleConfidence); o.Confidence < 0 || o.Confidence > 1 {
		r.Batch.bad(BadConfidence, in.values[roleConfidence])
		o.Confidence = nan
	}
	if in.set&tokenRoles != 0 {
		list := r.Batch.tokensOf(o)
		for d, x := range tokens {
			list[d] = in.atLeastZero(x)
		}
	}
	if o.Hosted && in.set&infoRoles != 0 {
		a := r.Batch.hostedCallOf(o)
		a.Provider, a.Prompt, a.PromptVersion = lower(in.text(roleProvider)), in.text(rolePrompt), in.name(rolePromptVersion)
	}
	if in.has(roleFinish) {
		o.Finish = finish(in.values[roleFinish])
	}
	if in.has(rolePrediction) {
		o.Prediction = in.values[rolePrediction]
	}
	if usage := in.text(roleTokenUsage); usage != "" {
		if list := r.Batch.tokensOf(o); math.IsNaN(list[Input]) && math.IsNaN(list[Output]) {
			list[Input], list[Output] = tokenUsage(usage)
		}
	}
	o.Exception = in.name(roleErrorType)
	o.Outcome = r.outcome(in, s, o.Exception)
}

// name returns a name, which may be a number.
func (r *reading) name(x role) string {
	if !r.has(x) {
		return ""
	}
	if v := r.values[x]; v.Kind != otlp.String {
		return string(v.Append(nil))
	}
	return r.values[x].Text()
}

// tokenUsage reads MLflow's JSON.
func tokenUsage(text string) (input, output float64) {
	var usage struct {
		Input  *float64 `json:"input_tokens"`
		Output *float64 `json:"output_tokens"`
	}
	input, output = nan, nan
	if json.Unmarshal([]byte(text), &usage) != nil {
		return input, output
	}
	if usage.Input != nil && *usage.Input >= 0 {
		input = *usage.Input
	}
	if usage.Output != nil && *usage.Output >= 0 {
		output = *usage.Output
	}
	return input, output
}

// outcome returns the outcome that the service reports. Without one it derives the outcome from the span's status.
func (r *Reader) outcome(in *reading, s *otlp.Span, errorType string) Outcome {
	if in.has(roleOutcome) {
		text := in.text(roleOutcome)
		if strings.EqualFold(text, "canceled") {
			return Cancelled
		}
		for o := OK; o < Outcomes; o++ {
			if strings.EqualFold(text, o.String()) {
				return o
			}
		}
		r.Batch.bad(BadOutcome, in.values[roleOutcome])
	}
	status := in.number(roleStatusCode)
	switch {
	case in.has(roleFallback) && in.values[roleFallback].Truth():
		return Fallback
	case s.Status != otlp.StatusError && errorType == "" && !(status >= 400):
		return OK
	}
	if o := failure(errorType); o != Error {
		return o
	}
	if o := failure(strconv.Itoa(int(max(status, 0)))); status >= 400 && o != Error {
		return o
	}
	return gRPC(in.number(roleGRPCCode))
}

// gRPC derives the outcome of a failure from a gRPC status code.
func gRPC(code float64) Outcome {
	switch code {
	case 1:
		return Cancelled
	case 4:
		return Timeout
	case 8:
		return Rejected
	}
	return Error
}

// failure derives the outcome of a failure from its error type, which is a class name, a gRPC status or an HTTP status.
func failure(errorType string) Outcome {
	switch {
	case errorType == "504" || errorType == "408" || containsFold(errorType, "timeout", "timedout", "timed_out", "deadline"):
		return Timeout
	case errorType == "429" || containsFold(errorType, "resource_exhausted", "resourceexhausted", "ratelimit", "rate_limit", "overload", "queuefull", "queue_full", "reject",
		"throttl", "toomanyrequests", "too_many_requests", "insufficient_quota", "insufficientquota", "quotaexceeded", "quota_exceeded"):
		return Rejected
	case errorType == "499" || containsFold(errorType, "cancelled", "canceled", "aborterror"):
		return Cancelled
	}
	return Error
}

func containsFold(s string, parts ...string) bool {
	for _, p := range parts {
		for i := 0; i+len(p) <= len(s); i++ {
			if strings.EqualFold(s[i:i+len(p)], p) {
				return true
			}
		}
	}
	return false
}

// events reads the events of a span. index is its observation's, or -1.
func (r *Reader) events(s *otlp.Span, in *reading, index int) {
	for i := range s.Events {
		e := &s.Events[i]
		switch {
		case e.Name == "exception" && index >= 0:
			for j := range e.Attributes {
				if e.Attributes[j].Key != "exception.type" {
					continue
				}
				o := &r.Batch.Observations[index]
				o.Exception = e.Attributes[j].Value.Text()
				if o.Outcome == Error && !in.has(roleErrorType) && !in.has(roleOutcome) {
					o.Outcome = failure(o.Exception)
				}
			}
		case e.Name == evaluationEvent:
			r.begin(&r.event)
			r.event.read(r.Convention, e.Attributes)
			if !r.judge(&r.event, in, s, e.Time, index) {
				r.Batch.refuse("an evaluation has no name")
			}
		case e.Name == detailsEvent && r.Convention.texts != nil:
			in.read(r.Convention, e.Attributes)
		case index >= 0 && e.Time >= s.Start && math.IsNaN(r.Batch.Observations[index].TimeToFirst):
			for _, name := range r.Convention.firstToken {
				if e.Name == name {
					r.Batch.Observations[index].TimeToFirst = float64(e.Time-s.Start) / 1e9
				}
			}
		}
	}
}

func (r *reading) read(c *Convention, attributes []otlp.Attribute) {
	for i := range attributes {
		if s := c.slots[attributes[i].Key]; s != nil {
			r.put(s, attributes[i].Value)
		}
	}
}

// evaluation adds the evaluation in a span's own attributes, as in OpenInference, and reports whether there is one.
func (r *Reader) evaluation(in *reading, s *otlp.Span, index int) bool {
	return in.judges() && r.judge(in, in, s, s.End, index)
}

// judge adds an evaluation. values has its name, score and label; span has the values of the span that carries it.
func (r *Reader) judge(values, span *reading, s *otlp.Span, at uint64, index int) bool {
	e, ok := r.evaluationOf(values)
	if !ok {
		return false
	}
	e.Inside = index < 0
	e.Of, e.Trace, e.Span, e.Parent, e.Time = index, s.Trace, s.ID, s.Parent, instant(at, s.End)
	if index >= 0 {
		o := &r.Batch.Observations[index]
		e.Model, e.Version, e.Run = o.Model, o.Version, o.Run
	}
	if e.ResponseID == "" {
		e.ResponseID = span.text(roleResponseID)
	}
	r.Batch.Evaluations = append(r.Batch.Evaluations, e)
	return true
}

func (r *Reader) evaluationOf(in *reading) (Evaluation, bool) {
	model := in.text(roleModel)
	if model != "" && in.ranks[roleModel] != 0 && in.ranks[roleModel] != math.MaxUint8 {
		model = r.Convention.hosted.name(model)
	}
	return Evaluation{
		Model: model, Version: in.name(roleVersion), Run: in.text(roleRun), ResponseID: in.text(roleResponseID),
		Name: lower(in.text(roleEvaluation)), Label: in.text(roleLabel), Explanation: in.text(roleExplanation),
		Error: in.text(roleErrorType), Score: in.number(roleScore),
	}, in.text(roleEvaluation) != ""
}

// Record implements otlp.Visitor.
func (r *Reader) Record(rec *otlp.Record) {
	b := r.Batch
	in := &r.item
	r.begin(in)
	in.read(r.Convention, rec.Attributes)
	named := rec.EventName == evaluationEvent
	for i := range rec.Attributes {
		// Older SDKs put the name here, before log records had an event name.
		named = named || rec.Attributes[i].Key == "event.name" && rec.Attributes[i].Value.Text() == evaluationEvent
	}
	if !in.has(roleEvaluation) {
		r.body = rec.Body.Attributes(r.body[:0])
		in.read(r.Convention, r.body)
	}
	if !named && !in.judges() {
		b.Ignored[NoEvaluation]++
		return
	}
	e, ok := r.evaluationOf(in)
	if !ok {
		b.refuse("an evaluation has no name")
		return
	}
	e.Logged = true
	e.Of, e.Trace, e.Span, e.Time = -1, rec.Trace, rec.Span, instant(rec.Time, rec.Observed)
	b.Evaluations = append(b.Evaluations, e)
}

// weight returns the number of spans that a sampled span represents, according to its tracestate. It is 0 if the tracestate has no sampling
// threshold or probability.
func weight(state string) float64 {
	for member := range strings.SplitSeq(state, ",") {
		list, ok := strings.CutPrefix(strings.TrimSpace(member), "ot=")
		if !ok {
			continue
		}
		for item := range strings.SplitSeq(list, ";") {
			if th, ok := strings.CutPrefix(item, "th:"); ok && th != "" && len(th) <= 14 {
				// The threshold has 56 bits, without trailing zeros.
				t, err := strconv.ParseUint(th, 16, 64)
				if t <<= 4 * (14 - len(th)); err == nil && t > 0 {
					return 1 / (1 - float64(t)/(1<<56))
				}
			}
			if p, ok := strings.CutPrefix(item, "p:"); ok {
				if n, err := strconv.Atoi(p); err == nil && n > 0 && n < 63 {
					return math.Pow(2, float64(n))
				}
			}
		}
	}
	return 0
}

// instant returns the first valid time, in nanoseconds.
func instant(at, otherwise uint64) int64 {
	if at == 0 || at > math.MaxInt64 {
		at = otherwise
	}
	if at > math.MaxInt64 {
		return 0
	}
	return int64(at)
}

// lower is strings.ToLower without an allocation if the text is already lower case. Evaluators differ in case.
func lower(s string) string {
	for i := range len(s) {
		if c := s[i]; c >= 'A' && c <= 'Z' || c >= 0x80 {
			return strings.ToLower(s)
		}
	}
	return s
}

// ageOf returns the time from v to start. v is an RFC 3339 text, or a Unix time in seconds, milliseconds, microseconds or nanoseconds. The
// size of the number gives the unit: seconds have ten digits until the year 2286.
func ageOf(v otlp.Value, start uint64) (float64, bool) {
	var seconds float64
	if v.Kind == otlp.String {
		t, err := time.Parse(time.RFC3339Nano, v.Text())
		if err != nil {
			return 0, false
		}
		seconds = float64(t.UnixNano()) / 1e9
	} else {
		n, ok := v.Number()
		if !ok || math.IsNaN(n) || n <= 0 {
			return 0, false
		}
		for n >= 1e11 {
			n /= 1e3
		}
		seconds = n
	}
	return float64(start)/1e9 - seconds, true
}
