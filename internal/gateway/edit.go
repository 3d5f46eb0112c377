package gateway

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// edit is one change to a key of a JSON object. Everything that no edit names stays byte for byte as it was, key
// order, spaces and escapes included.
type edit struct {
	key string
	// One of these: the new value's JSON; removal; the highest number allowed; changes to the object's own keys.
	raw    []byte
	remove bool
	limit  *float64
	inner  []edit
	// present leaves a body without the key as it is.
	present bool
	// streaming leaves requests alone that do not ask for a stream: stream_options is refused without one.
	streaming bool
}

// badParam is a value in a request that cannot be limited because it is not a number.
type badParam struct{ key string }

func (e *badParam) Error() string { return fmt.Sprintf("%s must be a number", e.key) }

// compileSet turns Route.Set into edits. A dotted key reaches into an object.
func compileSet(set map[string]any) ([]edit, error) {
	var out []edit
	for key, v := range set {
		e := edit{remove: v == nil}
		if v != nil {
			raw, err := marshal(v)
			if err != nil {
				return nil, fmt.Errorf("%s cannot be written as JSON: %w", key, err)
			}
			e.raw = raw
		}
		out = place(out, strings.Split(key, "."), e)
	}
	sortEdits(out)
	return out, unique(out)
}

// unique refuses a key that is set whole and in part, for the order would decide.
func unique(list []edit) error {
	for i, e := range list {
		if i > 0 && list[i-1].key == e.key {
			return fmt.Errorf("%s is set twice", e.key)
		}
		if err := unique(e.inner); err != nil {
			return err
		}
	}
	return nil
}

// compileCaps turns Route.Caps into edits.
func compileCaps(into []edit, caps map[string]float64) []edit {
	for key, limit := range caps {
		path := strings.Split(key, ".")
		if !has(into, path) {
			into = place(into, path, edit{limit: &limit, present: true})
		}
	}
	sortEdits(into)
	return into
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// place puts e at a path of keys.
func place(list []edit, path []string, e edit) []edit {
	e.key = path[0]
	e.streaming = path[0] == "stream_options"
	if len(path) == 1 {
		return append(list, e)
	}
	for i := range list {
		if list[i].key == path[0] && list[i].inner != nil {
			list[i].inner = place(list[i].inner, path[1:], e)
			list[i].present = list[i].present && e.present
			return list
		}
	}
	outer := edit{key: path[0], streaming: e.streaming, present: e.present || e.remove}
	outer.inner = place(nil, path[1:], e)
	return append(list, outer)
}

func has(list []edit, path []string) bool {
	for _, e := range list {
		if e.key == path[0] && (len(path) == 1 || e.inner == nil || has(e.inner, path[1:])) {
			return true
		}
	}
	return false
}

func sortEdits(list []edit) {
	slices.SortStableFunc(list, func(a, b edit) int { return strings.Compare(a.key, b.key) })
	for _, e := range list {
		sortEdits(e.inner)
	}
}

// maxEdits bounds how many keys are edited at one level, so that a bit set can remember which were found.
const maxEdits = 64

// apply appends src with the edits made to dst. It returns changed false, and dst as it was, when there is nothing to
// change. An error is errNotObject or *badParam.
func apply(dst, src []byte, edits []edit, stream bool) (out []byte, changed bool, err error) {
	before := len(dst)
	m := open(src)
	var found uint64
	last := skipSpace(src, 0) + 1 // behind the opening brace
	wrote := false                // a member has been kept
	if m.err == nil {
		dst = append(dst, src[:last]...)
	}
	for m.next() {
		at := slices.IndexFunc(edits, func(e edit) bool { return e.key == string(m.key()) })
		if at >= 0 && edits[at].streaming && !stream {
			at = -1
		}
		if at >= 0 {
			found |= 1 << at
			if edits[at].remove {
				last, changed = m.valEnd, true
				continue
			}
		}
		lead := src[last:m.keyStart]
		if !wrote {
			lead = bytes.TrimLeft(bytes.TrimLeft(lead, " \t\r\n"), ",")
			if m.n == 1 {
				lead = src[last:m.keyStart]
			}
		}
		wrote = true
		dst = append(dst, lead...)
		dst = append(dst, src[m.keyStart:m.valStart]...)
		last = m.valEnd
		if at < 0 {
			dst = append(dst, m.value()...)
			continue
		}
		var c bool
		if dst, c, err = edits[at].value(dst, m.value(), stream); err != nil {
			return dst[:before], false, err
		}
		changed = changed || c
	}
	if m.err != nil {
		return dst[:before], false, m.err
	}
	for i, e := range edits {
		if found&(1<<i) != 0 || e.remove || e.present || e.streaming && !stream {
			continue
		}
		if wrote {
			dst = append(dst, ',')
		}
		dst = e.member(dst)
		wrote, changed = true, true
	}
	if !changed {
		return dst[:before], false, nil
	}
	return append(dst, src[last:]...), true, nil
}

// value appends what stands in the place of old.
func (e *edit) value(dst, old []byte, stream bool) ([]byte, bool, error) {
	switch {
	case e.limit != nil:
		if string(old) == "null" {
			return append(dst, old...), false, nil
		}
		n, err := strconv.ParseFloat(string(old), 64)
		if err != nil && !math.IsInf(n, 0) || old[0] != '-' && (old[0] < '0' || old[0] > '9') {
			return dst, false, &badParam{e.key}
		}
		if n <= *e.limit {
			return append(dst, old...), false, nil
		}
		return appendNumber(dst, *e.limit), true, nil
	case e.inner != nil:
		if old[0] != '{' {
			if e.present {
				return append(dst, old...), false, nil
			}
			return e.object(dst), true, nil
		}
		out, changed, err := apply(dst, old, e.inner, true)
		if err == nil && !changed {
			out = append(out, old...)
		}
		return out, changed, err
	default:
		return append(dst, e.raw...), !bytes.Equal(old, e.raw), nil
	}
}

func appendNumber(dst []byte, f float64) []byte {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return strconv.AppendInt(dst, int64(f), 10)
	}
	return strconv.AppendFloat(dst, f, 'g', -1, 64)
}

// member appends the key and its value for an object that lacks it.
func (e *edit) member(dst []byte) []byte {
	key, _ := json.Marshal(e.key)
	dst = append(append(dst, key...), ':')
	if e.inner != nil {
		return e.object(dst)
	}
	return append(dst, e.raw...)
}

// object appends an object of what is set inside.
func (e *edit) object(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	for _, in := range e.inner {
		if in.remove || in.present {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		dst, first = in.member(dst), false
	}
	return append(dst, '}')
}
