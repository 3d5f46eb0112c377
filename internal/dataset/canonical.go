package dataset

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// encoder writes values exactly as encoding/json does, keys sorted, several times as fast. It keeps
// its buffers between calls.
type encoder struct {
	buf  []byte
	keys []string // a stack of the keys of the maps being written
}

// encode replaces the buffer with the encoding of m. It fails on what JSON cannot hold.
func (e *encoder) encode(m map[string]any) error {
	e.buf, e.keys = e.buf[:0], e.keys[:0]
	return e.object(m)
}

func (e *encoder) object(m map[string]any) error {
	if m == nil {
		e.buf = append(e.buf, "null"...)
		return nil
	}
	start := len(e.keys)
	for k := range m {
		e.keys = append(e.keys, k)
	}
	end := len(e.keys)
	slices.Sort(e.keys[start:end])
	e.buf = append(e.buf, '{')
	for i := start; i < end; i++ {
		if i > start {
			e.buf = append(e.buf, ',')
		}
		k := e.keys[i]
		e.string(k)
		e.buf = append(e.buf, ':')
		if err := e.value(m[k]); err != nil {
			return err
		}
	}
	e.buf = append(e.buf, '}')
	e.keys = e.keys[:start]
	return nil
}

func (e *encoder) value(v any) error {
	switch v := v.(type) {
	case nil:
		e.buf = append(e.buf, "null"...)
	case string:
		e.string(v)
	case bool:
		e.buf = strconv.AppendBool(e.buf, v)
	case int64:
		e.buf = strconv.AppendInt(e.buf, v, 10)
	case map[string]any:
		return e.object(v)
	case []any:
		if v == nil {
			e.buf = append(e.buf, "null"...)
			return nil
		}
		e.buf = append(e.buf, '[')
		for i, x := range v {
			if i > 0 {
				e.buf = append(e.buf, ',')
			}
			if err := e.value(x); err != nil {
				return err
			}
		}
		e.buf = append(e.buf, ']')
	default:
		b, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("%v is a value that JSON cannot hold", v)
		}
		e.buf = append(e.buf, b...)
	}
	return nil
}

const hexDigits = "0123456789abcdef"

// string writes s quoted. Like encoding/json it escapes <, >, &, U+2028 and U+2029, and replaces
// bytes that are not UTF-8.
func (e *encoder) string(s string) {
	b := append(e.buf, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r != '\u2028' && r != '\u2029' && (r != utf8.RuneError || n > 1) {
				i += n
				continue
			}
			b = append(b, s[start:i]...)
			b = append(b, `\u`...)
			for shift := 12; shift >= 0; shift -= 4 {
				b = append(b, hexDigits[r>>shift&15])
			}
			i += n
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\f':
			b = append(b, `\f`...)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, `\u00`...)
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	e.buf = append(b, '"')
}

// caseDigest is the SHA-256 of everything in t that can change a result: id, variables, assertions,
// threshold, metadata, tags (as a set), group, critical, and what is put around the prompt. Description and place are not part of
// it, and neither is how the file wrote it down: order of keys, spaces, line ends, escapes. vars
// holds the encoded variables.
func caseDigest(e *encoder, t *config.Test, vars []byte) ([32]byte, error) {
	b := append(e.buf[:0], `{"id":`...)
	e.buf, e.keys = b, e.keys[:0]
	e.string(t.ID)
	e.buf = append(append(e.buf, `,"vars":`...), vars...)
	rest := map[string]any{}
	if len(t.Assert) > 0 {
		rest["assert"] = config.Contents(t.Assert)
	}
	if t.Threshold != nil {
		rest["threshold"] = *t.Threshold
	}
	if len(t.Metadata) > 0 {
		rest["metadata"] = t.Metadata
	}
	if len(t.Tags) > 0 {
		tags := slices.Clone(t.Tags)
		slices.Sort(tags)
		rest["tags"] = tags
	}
	if t.Group != "" {
		rest["group"] = t.Group
	}
	if t.Critical {
		rest["critical"] = true
	}
	if t.NoDefaults {
		rest["no_defaults"] = true
	}
	if t.Prefix != "" {
		rest["prefix"] = t.Prefix
	}
	if t.Suffix != "" {
		rest["suffix"] = t.Suffix
	}
	maps.Copy(rest, t.Extras())
	if len(rest) > 0 {
		e.buf = append(e.buf, `,"rest":`...)
		if err := e.object(rest); err != nil {
			return [32]byte{}, err
		}
	}
	e.buf = append(e.buf, '}')
	return sha256.Sum256(e.buf), nil
}
