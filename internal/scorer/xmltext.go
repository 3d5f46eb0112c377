package scorer

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/telltale-llm/telltale/internal/config"
)

// elementPath is a dotted path of element names such as root.child.
var elementPath = regexp.MustCompile(`^[\p{L}_][\p{L}\p{N}_:·-]*(\.[\p{L}_][\p{L}\p{N}_:·-]*)*$`)

// requiredElements reads value: {requiredElements: [root.child]}, the list alone, or a text with commas.
func requiredElements(s Spec) ([]string, error) {
	if s.Value == nil {
		return nil, nil
	}
	m, ok := s.Value.(map[string]any)
	switch v := s.Value.(type) {
	case []any:
		m, ok = map[string]any{"requiredElements": v}, true
	case string:
		list := []any{}
		for part := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(part))
		}
		m, ok = map[string]any{"requiredElements": list}, true
	}
	if !ok {
		return nil, badValue(s, "the value names no elements", "a list of paths such as root.child, a text with commas, or {requiredElements: [root.child]}")
	}
	r := config.Object{Pos: s.ValuePos, Map: m}.Reader()
	paths := r.Strings("requiredElements")
	if len(paths) == 0 {
		r.Fail("requiredElements", "no elements are named", "a list of paths such as root.child")
	}
	for _, p := range paths {
		if !elementPath.MatchString(p) {
			r.Fail("requiredElements", fmt.Sprintf("%q is not a path of element names", p), "a path such as root.child")
		}
	}
	return paths, r.Finish()
}

// xmlScan reads XML tokens and keeps the path of open elements. Unlike encoding/xml's own check it
// knows where each open element began.
type xmlScan struct {
	d     *xml.Decoder
	names []string        // open elements
	open  []int           // where they begin
	start int             // where the last token began
	roots int             // elements at the top that are complete
	seen  map[string]bool // paths of elements seen, if asked for
	path  []int           // length of the dotted path at each depth
	dots  []byte
}

func newXMLScan(s string, paths bool) *xmlScan {
	x := &xmlScan{d: xml.NewDecoder(strings.NewReader(s))}
	// The text is already decoded, whatever its declaration says.
	x.d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	if paths {
		x.seen = map[string]bool{}
	}
	return x
}

// next reads one token; io.EOF is the end of the text with no element open.
func (x *xmlScan) next() (xml.Token, error) {
	x.start = int(x.d.InputOffset())
	t, err := x.d.RawToken()
	if err != nil {
		if errors.Is(err, io.EOF) && len(x.names) > 0 {
			return nil, fmt.Errorf("<%s> is not closed", x.names[len(x.names)-1])
		}
		return nil, err
	}
	switch t := t.(type) {
	case xml.StartElement:
		for i, a := range t.Attr {
			for _, b := range t.Attr[:i] {
				if a.Name == b.Name {
					return nil, fmt.Errorf("<%s> has the attribute %s twice", rawName(t.Name), rawName(a.Name))
				}
			}
		}
		if len(x.names) == maxDepth {
			return nil, errors.New("elements are nested too deeply")
		}
		x.names = append(x.names, rawName(t.Name))
		x.open = append(x.open, x.start)
		if x.seen != nil {
			x.path = append(x.path, len(x.dots))
			if len(x.names) > 1 {
				x.dots = append(x.dots, '.')
			}
			x.dots = append(x.dots, rawName(t.Name)...)
			// A hostile depth would make the paths quadratic; nobody asks for one that long.
			if len(x.dots) <= 1<<10 {
				x.seen[string(x.dots)] = true
			}
		}
	case xml.EndElement:
		n := len(x.names)
		if n == 0 {
			return nil, fmt.Errorf("</%s> closes nothing", rawName(t.Name))
		}
		if x.names[n-1] != rawName(t.Name) {
			return nil, fmt.Errorf("<%s> is closed by </%s>", x.names[n-1], rawName(t.Name))
		}
		x.names, x.open = x.names[:n-1], x.open[:n-1]
		if x.seen != nil {
			x.dots, x.path = x.dots[:x.path[n-1]], x.path[:n-1]
		}
		if n == 1 {
			x.roots++
		}
	}
	return t, nil
}

func rawName(n xml.Name) string {
	if n.Space == "" {
		return n.Local
	}
	return n.Space + ":" + n.Local
}

func xmlProblem(err error) string {
	if bad, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return fmt.Sprintf("%s in line %d", bad.Msg, bad.Line)
	}
	return err.Error()
}

// wellFormed checks that s is one XML document without a DTD of its own and returns the paths of
// its elements.
func wellFormed(s string) (map[string]bool, error) {
	s = strings.TrimPrefix(s, "\uFEFF")
	x := newXMLScan(s, true)
	doctypes := 0
	for {
		t, err := x.next()
		if errors.Is(err, io.EOF) {
			if x.roots == 0 {
				return nil, errors.New("there is no element")
			}
			return x.seen, nil
		}
		if err != nil {
			return nil, errors.New(xmlProblem(err))
		}
		raw := s[x.start:x.d.InputOffset()]
		switch t := t.(type) {
		case xml.StartElement:
			if len(x.names) == 1 && x.roots > 0 {
				return nil, fmt.Errorf("after the root element there is another one, <%s>", x.names[0])
			}
		case xml.CharData:
			if len(x.names) == 0 && strings.Trim(raw, " \t\r\n") != "" {
				return nil, fmt.Errorf("outside the root element there is %s", quote(strings.TrimSpace(raw)))
			}
		case xml.ProcInst:
			if strings.EqualFold(t.Target, "xml") && (x.start != 0 || t.Target != "xml") {
				return nil, errors.New("the XML declaration is not at the beginning")
			}
		case xml.Directive:
			doctypes++
			text := string(t)
			switch {
			case !strings.HasPrefix(text, "DOCTYPE") || doctypes > 1 || x.roots > 0 || len(x.names) > 0:
				return nil, fmt.Errorf("<!%s> is out of place", config.Clip(text, 20))
			case strings.Contains(text, "["):
				return nil, errors.New("a DTD within the document is not supported")
			}
		}
	}
}

func missingElements(required []string, seen map[string]bool) []string {
	return slices.DeleteFunc(slices.Clone(required), func(p string) bool { return seen[p] })
}

func buildIsXML(s Spec) (Scorer, error) {
	required, err := requiredElements(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		seen, err := wellFormed(in.Response.Output)
		if err != nil {
			return judged(false, "the output is not well-formed XML: %v", err), nil
		}
		if missing := missingElements(required, seen); len(missing) > 0 {
			return judged(false, "the XML lacks %s", enumerate(missing)), nil
		}
		return judged(true, "the output is well-formed XML%s", withElements(required)), nil
	}), nil
}

func withElements(required []string) string {
	if len(required) == 0 {
		return ""
	}
	return " with " + enumerate(required)
}

func buildContainsXML(s Spec) (Scorer, error) {
	required, err := requiredElements(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		seen, fragments, err := xmlWithin(in.Response.Output, len(required) > 0)
		if err != nil {
			return Result{}, err
		}
		if fragments == 0 {
			return judged(false, "the output contains no well-formed XML element"), nil
		}
		if missing := missingElements(required, seen); len(missing) > 0 {
			return judged(false, "the XML in the output lacks %s", enumerate(missing)), nil
		}
		return judged(true, "the output contains well-formed XML%s", withElements(required)), nil
	}), nil
}

// xmlWithin finds the outermost well-formed elements in s and the paths of all elements in them;
// without paths it stops at the first. It is linear for the same reason as eachJSON, and has the
// same limit.
func xmlWithin(s string, paths bool) (seen map[string]bool, fragments int, err error) {
	seen = map[string]bool{}
	var dead []bool
	budget := 16*len(s) + 1<<16
	for i := 0; i < len(s); {
		k := strings.IndexByte(s[i:], '<')
		if k < 0 || i+k+1 == len(s) {
			break
		}
		i += k
		if !nameStart(s[i+1]) || dead != nil && dead[i] {
			i++
			continue
		}
		x := newXMLScan(s[i:], paths)
		for err = nil; err == nil && x.roots == 0; {
			_, err = x.next()
		}
		if budget -= int(x.d.InputOffset()) + 16; budget < 0 {
			return nil, 0, errors.New("the output holds too many overlapping beginnings of XML to search them all")
		}
		if err == nil {
			fragments++
			if !paths {
				break
			}
			for p := range x.seen {
				seen[p] = true
			}
			i += int(x.d.InputOffset())
			continue
		}
		if dead == nil {
			dead = make([]bool, len(s))
		}
		for _, start := range x.open {
			dead[i+start] = true
		}
		i++
	}
	return seen, fragments, nil
}

// nameStart says whether an element's name may begin with c.
func nameStart(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c >= utf8.RuneSelf
}
