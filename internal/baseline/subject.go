package baseline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrOtherBins means that counts were made with other bins than those in force, because of a reset in between. They cannot be stored.
var ErrOtherBins = errors.New("counted by bins that are no longer in force")

// Subject is the baseline of one dataset or model. It is safe for concurrent use. It caches immutable objects, so callers should keep
// it.
type Subject struct {
	store *Store
	id    ID
	dir   string

	mu sync.Mutex
	// seen is the time at which this process first saw an object; see put.
	seen map[string]time.Time
	// The cache has one object of each kind. The next generation replaces it.
	definition record[Definition]
	training   record[Counts]
	frozen     record[Production]
	learned    learned
	season     seasonOf
	refined    record[Definition]
	accepted   acceptedOf
	lastGood   replaced
}

// replaced is an object that is overwritten repeatedly, as it was last read or written.
type replaced struct {
	object  string
	data    []byte
	payload json.RawMessage
}

// record is an object that was read.
type record[T any] struct {
	object string
	header header
	value  T
}

// learned is the sum of the production days in objects.
type learned struct {
	objects []string
	counts  Counts
}

// Subject returns the baseline of one object. kind is a word such as "dataset"; name may be any text.
func (s *Store) Subject(kind, name string) *Subject {
	return &Subject{store: s, id: ID{kind, name}, dir: escape(kind) + "/" + escape(name)}
}

// CreateDefinition stores a definition, unless there is one. It returns the definition in force, which may be another replica's.
func (b *Subject) CreateDefinition(ctx context.Context, d Definition) (Definition, error) {
	v, err := b.View(ctx)
	if err != nil {
		return Definition{}, err
	}
	if _, err := create(ctx, v, v.gens.definition(), kindDefinition, d); err != nil {
		return Definition{}, err
	}
	return v.Definition(ctx)
}

// CreateTraining stores the counts of the training data, unless there are some. It returns the counts in force.
func (b *Subject) CreateTraining(ctx context.Context, c Counts) (Counts, error) {
	v, err := b.viewFor(ctx, c)
	if err != nil {
		return Counts{}, err
	}
	if _, err := create(ctx, v, v.gens.training(c.Definition), kindTraining, c); err != nil {
		return Counts{}, err
	}
	return v.Training(ctx)
}

// AddDay stores the counts of one production day. If the day is already stored or the baseline is frozen, it returns false and changes
// nothing. A day therefore counts once, however often and by however many replicas it is added.
func (b *Subject) AddDay(ctx context.Context, day Day, c Counts) (bool, error) {
	return b.addDay(ctx, day, c, nil)
}

func (b *Subject) addDay(ctx context.Context, day Day, c Counts, h *Hours) (bool, error) {
	if _, err := day.Start(); err != nil {
		return false, err
	}
	v, err := b.viewFor(ctx, c)
	if err != nil {
		return false, err
	}
	if v.has(v.gens.frozen(c.Definition)) {
		return false, nil
	}
	if h != nil {
		if err := v.putHours(ctx, day, *h, false); err != nil {
			return false, err
		}
	}
	return create(ctx, v, v.gens.day(c.Definition, day), kindDay, c)
}

// viewFor returns a view whose definition is the one that c was counted with. The object names of counts contain that definition and
// the view's generation. If a reset follows the view, c is stored under a name that is no longer read.
func (b *Subject) viewFor(ctx context.Context, c Counts) (*View, error) {
	v, err := b.View(ctx)
	if err != nil {
		return nil, err
	}
	def, err := v.Definition(ctx)
	if err != nil {
		return nil, err
	}
	if c.Definition != def.ID {
		return nil, fmt.Errorf("%s: %w (%.12s, now %.12s)", b.id, ErrOtherBins, c.Definition, def.ID)
	}
	return v, nil
}

// Freeze freezes the production baseline now, with the days learned so far.
func (b *Subject) Freeze(ctx context.Context) (Production, error) {
	v, err := b.View(ctx)
	if err != nil {
		return Production{}, err
	}
	p, err := v.Production(ctx, 0)
	if err != nil || p.Frozen() {
		return p, err
	}
	if len(p.Days) == 0 {
		return Production{}, fmt.Errorf("%s has no production day yet, so there is nothing to freeze", b.id)
	}
	return v.freeze(ctx, p)
}

// Reset starts a new generation of each part. Other replicas see it in their next view. Existing objects stay in the store, and a
// damaged object does not prevent the reset.
func (b *Subject) Reset(ctx context.Context, parts ...Part) error {
	for _, part := range parts {
		objects, err := b.store.list(ctx, b.dir)
		if err != nil {
			return err
		}
		stem := fmt.Sprintf("reset-%05d-%s", generationsOf(objects).next(), part)
		if !resetStem.MatchString(stem) {
			return fmt.Errorf("%s cannot be reset: %q is not a part or there were too many resets", b.id, part)
		}
		data, err := encode(b.newHeader(kindReset, stem), struct{}{})
		if err != nil {
			return err
		}
		// Only the name of a reset matters. If another replica has just written the same reset, that one is this reset too.
		if _, err := b.put(ctx, stem, data); err != nil {
			return fmt.Errorf("reset %s of %s: %w", part, b.id, err)
		}
	}
	return nil
}

// create writes an object that is written once, and records the winner in the view. It returns whether this call's object won.
func create[T any](ctx context.Context, v *View, stem, kind string, payload T) (bool, error) {
	if v.has(stem) {
		return false, nil
	}
	b := v.subject
	h := b.newHeader(kind, stem)
	data, err := encode(h, payload)
	if err == nil {
		// The object is never overwritten, so check that it can be read.
		_, err = decode(stem, data, h, new(T))
	}
	if err != nil {
		var refused *ObjectError
		if errors.As(err, &refused) {
			err = errors.New(refused.Reason)
		}
		return false, fmt.Errorf("%s of %s cannot be stored: %w", kind, b.id, err)
	}
	written, err := b.put(ctx, stem, data)
	if err != nil {
		return false, fmt.Errorf("write %s of %s: %w", kind, b.id, err)
	}
	objects, err := b.settled(ctx)
	if err != nil {
		return false, err
	}
	if _, ok := objects[stem]; !ok {
		return false, fmt.Errorf("%s of %s vanished after it was written", kind, b.id)
	}
	v.objects[stem] = objects[stem]
	return v.objects[stem].winner == written, nil
}

func (b *Subject) header(kind, stem string) header {
	return header{Kind: kind, Subject: b.id.String(), Stem: stem}
}

func (b *Subject) newHeader(kind, stem string) header {
	h := b.header(kind, stem)
	h.Created = b.store.now()
	return h
}

// read reads one object into value.
func (b *Subject) read(ctx context.Context, object, kind, stem string, value any) (header, error) {
	data, err := b.store.get(ctx, object)
	if err != nil {
		return header{}, err
	}
	return b.decode(object, data, kind, stem, value)
}

func (b *Subject) decode(object string, data []byte, kind, stem string, value any) (header, error) {
	h, err := decode(object, data, b.header(kind, stem), value)
	if err != nil {
		return header{}, fmt.Errorf("baseline store %s: %w", b.store.Name(), err)
	}
	return h, nil
}

// replace writes an object and overwrites the previous one.
func (b *Subject) replace(ctx context.Context, object string, data []byte) (err error) {
	defer func() { b.store.wrote(err) }()
	if f := b.store.folder; f != nil {
		return f.replace(ctx, object, data)
	}
	return b.store.bucket.Upload(ctx, object, bytes.NewReader(data))
}
