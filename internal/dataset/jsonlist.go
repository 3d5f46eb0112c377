package dataset

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// jsonReader reads a list of objects, one at a time: it finds where an element ends and leaves what
// is in it to the parser.
type jsonReader struct {
	in    *bufio.Reader
	file  string
	max   int
	shape shape

	began bool
	line  int        // of the next byte
	col   int        // bytes before it on its line
	start config.Pos // of the element at hand
	text  []byte
}

func (r *jsonReader) pos() config.Pos {
	return config.Pos{File: r.file, Line: r.line, Column: r.col + 1}
}

// read returns the next byte.
func (r *jsonReader) read() (byte, error) {
	c, err := r.in.ReadByte()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return 0, err
		}
		return 0, readError(r.pos(), err)
	}
	if c == '\n' {
		r.line++
		r.col = 0
	} else {
		r.col++
	}
	return c, nil
}

// token returns the next byte that is not a space, and its place.
func (r *jsonReader) token() (byte, config.Pos, error) {
	for {
		pos := r.pos()
		c, err := r.read()
		if err != nil || c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c, pos, err
		}
	}
}

func (r *jsonReader) next() error {
	c, pos, err := r.token()
	switch {
	case !r.began:
		if errors.Is(err, io.EOF) {
			return io.EOF // an empty file has no rows
		}
		if err != nil {
			return err
		}
		if c != '[' {
			e := &config.Error{Pos: pos, Value: r.show(c), Problem: "not a list", Want: "a list of objects: [{…}, {…}]"}
			if c == '{' {
				e.Hint = "one object a line is format: jsonl"
			}
			return e
		}
		r.began = true
		if c, pos, err = r.token(); err == nil && c == ']' {
			return r.end()
		}
	case err == nil && c == ']':
		return r.end()
	case err == nil && c == ',':
		c, pos, err = r.token()
	case err == nil:
		return &config.Error{Pos: pos, Value: r.show(c), Problem: "unexpected text after an element", Want: ", or ]"}
	}
	if errors.Is(err, io.EOF) {
		return &config.Error{Pos: pos, Problem: "the file ends in the middle of the list", Want: "]"}
	}
	if err != nil {
		return err
	}
	r.start = pos
	return r.element(c)
}

// show returns c and what follows it on the line, for messages.
func (r *jsonReader) show(c byte) string {
	rest, _ := r.in.Peek(min(40, r.in.Buffered()))
	line, _, _ := strings.Cut(string(append([]byte{c}, rest...)), "\n")
	return clip(strings.ToValidUTF8(strings.TrimRight(line, "\r"), "\ufffd"))
}

// end checks that nothing follows the list.
func (r *jsonReader) end() error {
	c, pos, err := r.token()
	if err == nil {
		return &config.Error{Pos: pos, Value: r.show(c), Problem: "text after the end of the list", Want: "one list"}
	}
	return err
}

// element reads the text of the element that begins with c.
func (r *jsonReader) element(c byte) error {
	if c != '{' {
		return &config.Error{Pos: r.start, Value: r.show(c), Problem: "not an object", Want: `an object such as {"question": "…"}`}
	}
	r.text = append(r.text[:0], c)
	depth, quoted, escaped := 1, false, false
	for depth > 0 {
		c, err := r.read()
		if errors.Is(err, io.EOF) {
			return &config.Error{Pos: r.start, Problem: "the object that begins here is not closed", Want: "}"}
		}
		if err != nil {
			return err
		}
		if len(r.text) >= r.max {
			return tooLarge(r.start, r.max)
		}
		r.text = append(r.text, c)
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped = c == '\\'
			quoted = c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func (r *jsonReader) at() config.Pos { return config.Pos{File: r.file, Line: r.start.Line} }

func (r *jsonReader) decode(it *item) error {
	text := string(r.text)
	obj, bad := parseObject(text)
	if bad != nil {
		return bad.at(r.start, text)
	}
	return r.shape(obj, it)
}
