// Package keep holds texts of requests that outlive their request.
//
// Input: texts that are parts of a request, whose memory is used again for the next one. Output: copies. State: that of a Map. Who stores a
// text in a Map or as a Text cannot forget to copy it: the types do.
package keep

import (
	"iter"
	"maps"
	"strings"
)

// Text is a copied text. Only Copy makes one.
type Text struct{ text string }

// Copy copies a text.
func Copy(text string) Text { return Text{strings.Clone(text)} }

func (t Text) String() string { return t.text }

// Keeper is a value that can copy the texts in it.
type Keeper[T any] interface{ Keep() T }

// Name is a key that is one text.
type Name string

var _ Keeper[Name] = Name("")

// Keep implements Keeper.
func (n Name) Keep() Name { return Name(strings.Clone(string(n))) }

// Map is a map that copies its keys. The zero value is empty and ready for use. It has no lock.
type Map[K interface {
	comparable
	Keeper[K]
}, V any] struct{ values map[K]V }

// Get returns the value of a key. It copies nothing.
func (m *Map[K, V]) Get(key K) (V, bool) {
	v, ok := m.values[key]
	return v, ok
}

// Put stores what value returns for the copy of the key, and returns it.
func (m *Map[K, V]) Put(key K, value func(kept K) V) V {
	if m.values == nil {
		m.values = make(map[K]V)
	}
	key = key.Keep()
	v := value(key)
	m.values[key] = v
	return v
}

// Len returns the number of keys.
func (m *Map[K, V]) Len() int { return len(m.values) }

// All returns the keys and their values. A key may be deleted meanwhile.
func (m *Map[K, V]) All() iter.Seq2[K, V] { return maps.All(m.values) }

// Delete removes a key.
func (m *Map[K, V]) Delete(key K) { delete(m.values, key) }
