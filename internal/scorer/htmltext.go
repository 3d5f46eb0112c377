package scorer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"golang.org/x/net/html"

	"github.com/telltale-llm/telltale/internal/config"
)

// htmlElements are the elements of HTML, without html, head and body.
var htmlElements = sync.OnceValue(func() map[string]bool {
	set := map[string]bool{}
	for _, name := range strings.Fields(`a abbr address area article aside audio b base bdi bdo blockquote br button canvas caption
		cite code col colgroup data datalist dd del details dfn dialog div dl dt em embed fieldset figcaption figure footer form
		h1 h2 h3 h4 h5 h6 header hr i iframe img input ins kbd label legend li link main map mark math menu meta meter nav noscript
		object ol optgroup option output p param picture pre progress q rp rt ruby s samp script section select slot small source
		span strong style sub summary sup svg table tbody td template textarea tfoot th thead time title tr track u ul var video wbr`) {
		set[name] = true
	}
	return set
})

// Elements that have no content, and those whose end tag HTML lets a writer leave out.
var (
	voidElements = strings.Fields("area base br col embed hr img input link meta param source track wbr")
	openElements = strings.Fields("html head body li dt dd p rt rp optgroup option colgroup caption thead tbody tfoot tr td th")
)

// htmlCheck is what is asked of HTML beyond being some.
type htmlCheck struct {
	closed   bool
	required []string
}

// readHTML reads the value {requiredElements: [table, a], closed: true}.
func readHTML(s Spec) (*htmlCheck, error) {
	c := &htmlCheck{}
	if s.Value == nil {
		return c, nil
	}
	m, ok := s.Value.(map[string]any)
	if !ok {
		return nil, badValue(s, "the value is not a mapping", "a mapping such as {requiredElements: [table, a], closed: true}")
	}
	r := config.Object{Pos: s.ValuePos, Map: m}.Reader()
	c.closed = r.Bool("closed", false)
	if r.Has("requiredElements") {
		if c.required = r.Strings("requiredElements"); len(c.required) == 0 {
			r.Fail("requiredElements", "no elements are named", "a list of names such as table")
		}
		for i, name := range c.required {
			if !elementName.MatchString(name) {
				r.Fail("requiredElements", fmt.Sprintf("%q is not the name of an element", name), "names such as table")
			}
			c.required[i] = strings.ToLower(name)
		}
	}
	return c, r.Finish()
}

var elementName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]*$`)

// maxHTML bounds the texts that are looked at, as in promptfoo.
const maxHTML = 10 << 20

// htmlDepth bounds how deeply elements may be nested; beyond it the parser gives up.
const htmlDepth = 500

func buildIsHTML(s Spec) (Scorer, error) {
	c, err := readHTML(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		problem, err := notHTML(in.Response.Output)
		if problem == "" && err == nil {
			problem, err = c.problem(in.Response.Output)
		}
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return judged(false, "the output is not the HTML that is asked for: %s", problem), nil
		}
		return judged(true, "the output is HTML"), nil
	}), nil
}

// notHTML says why text is not HTML, "" when it is. It follows promptfoo: the HTML parser must find
// an element of HTML, or one with a hyphen, that the text itself has (the parser adds html, head and
// body by itself), and unless the text has a body of its own, no text may stand beside the elements.
func notHTML(text string) (string, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "it is empty", nil
	case len(text) > maxHTML:
		return "it has more than 10 MB", nil
	case len(text) >= 5 && strings.EqualFold(text[:5], "<?xml"):
		return "it is XML", nil
	}
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		return "", fmt.Errorf("the HTML cannot be parsed: %w", err)
	}
	written := wrappers(text)
	body := find(doc, func(n *html.Node) bool { return n.Data == "body" })
	if body != nil && !written["body"] {
		for n := body.FirstChild; n != nil; n = n.NextSibling {
			if n.Type == html.TextNode && strings.TrimSpace(n.Data) != "" {
				return "there is text outside of any element: " + quote(strings.TrimSpace(n.Data)), nil
			}
		}
	}
	if find(doc, func(n *html.Node) bool {
		switch n.Data {
		case "html", "head", "body":
			return written[n.Data]
		}
		return htmlElements()[n.Data] || strings.Contains(n.Data, "-")
	}) == nil {
		return "it has no element of HTML", nil
	}
	return "", nil
}

// find returns the first element for which f holds, without recursion: the depth is the model's choice.
func find(root *html.Node, f func(*html.Node) bool) *html.Node {
	for n := root; n != nil; {
		if n.Type == html.ElementNode && f(n) {
			return n
		}
		if n.FirstChild != nil {
			n = n.FirstChild
			continue
		}
		for n != root && n.NextSibling == nil {
			n = n.Parent
		}
		if n == root {
			return nil
		}
		n = n.NextSibling
	}
	return nil
}

// wrappers says which of html, head and body the text has tags for.
func wrappers(text string) map[string]bool {
	out := map[string]bool{}
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return out
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			switch string(name) {
			case "html", "head", "body":
				out[string(name)] = true
			}
		}
	}
}

// problem says what of the value's demands the HTML in text does not meet.
func (c *htmlCheck) problem(text string) (string, error) {
	if !c.closed && len(c.required) == 0 {
		return "", nil
	}
	seen := map[string]bool{}
	var open []string
	z := html.NewTokenizer(strings.NewReader(text))
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			if err := z.Err(); !errors.Is(err, io.EOF) {
				return "", fmt.Errorf("the HTML cannot be read: %w", err)
			}
			break
		}
		name, _ := z.TagName()
		tag := string(name)
		switch kind {
		case html.StartTagToken, html.SelfClosingTagToken:
			seen[tag] = true
			foreign := slices.Contains(open, "svg") || slices.Contains(open, "math") || tag == "svg" || tag == "math"
			if slices.Contains(voidElements, tag) || kind == html.SelfClosingTagToken && foreign {
				continue
			}
			if len(open) == htmlDepth {
				return "", errors.New("the elements are nested too deeply to be checked")
			}
			open = append(open, tag)
		case html.EndTagToken:
			if problem := closeTag(&open, tag); c.closed && problem != "" {
				return problem, nil
			}
		}
	}
	for i := len(open) - 1; i >= 0; i-- {
		if c.closed && !slices.Contains(openElements, open[i]) {
			return fmt.Sprintf("<%s> is not closed", open[i]), nil
		}
	}
	missing := slices.DeleteFunc(slices.Clone(c.required), func(name string) bool { return seen[name] })
	if len(missing) > 0 {
		return "it lacks " + enumerate(missing), nil
	}
	return "", nil
}

// closeTag takes the element that an end tag closes off the open ones, with those above it, which must
// be ones that may be left open.
func closeTag(open *[]string, tag string) (problem string) {
	list := *open
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == tag {
			*open = list[:i]
			return problem
		}
		if problem == "" && !slices.Contains(openElements, list[i]) {
			problem = fmt.Sprintf("<%s> is closed by </%s>", list[i], tag)
		}
	}
	if slices.Contains(voidElements, tag) || tag == "p" {
		return "" // </br> and </p> make an element of their own
	}
	return fmt.Sprintf("</%s> closes nothing", tag)
}

// htmlSigns are what promptfoo takes for signs of HTML, with their weight; two make it HTML.
var htmlSigns = []struct {
	weight  int
	pattern *regexp.Regexp
}{
	{1, regexp.MustCompile(`<[a-zA-Z][a-zA-Z0-9-]*(?:\s[^>]*)?>`)},
	{1, regexp.MustCompile(`</[a-zA-Z][a-zA-Z0-9-]*\s*>`)},
	{1, regexp.MustCompile(`<[a-zA-Z][a-zA-Z0-9-]*(?:\s[^>]*)?/>`)},
	{1, regexp.MustCompile(`&(?:[a-zA-Z]+|#[0-9]+|#x[0-9a-fA-F]+);`)},
	{2, regexp.MustCompile(`(?i)<!DOCTYPE\s+html`)},
	{1, regexp.MustCompile(`<!--[^-]*(?:-[^-]+)*-->`)},
	{1, regexp.MustCompile(`\s[a-zA-Z-]+=\s*["'][^"']*["']`)},
	{2, regexp.MustCompile(`(?i)<(?:html|head|body|div|span|p|a|img|h[1-6]|ul|ol|li|table|tr|td|th|form|input|button|script|style|link|meta|br|hr)\b`)},
}

func buildContainsHTML(s Spec) (Scorer, error) {
	c, err := readHTML(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		out, signs := in.Response.Output, 0
		if len(out) <= maxHTML && strings.ContainsAny(out, "<&=") {
			for _, sign := range htmlSigns {
				if sign.pattern.MatchString(out) {
					signs += sign.weight
				}
			}
		}
		if signs < 2 {
			return judged(false, "the output contains no HTML"), nil
		}
		problem, err := c.problem(out)
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return judged(false, "the HTML in the output is not as asked for: %s", problem), nil
		}
		return judged(true, "the output contains HTML"), nil
	}), nil
}
