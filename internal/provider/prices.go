package provider

import (
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

//go:embed prices.yaml
var builtinPrices []byte

// Price is what tokens cost, in US dollars per million.
type Price struct {
	Input, Output float64
	// Cached is the price of prompt tokens served from the provider's cache; nil means Input.
	Cached *float64
	// UpTo is the number of prompt tokens up to which the price holds; 0 means any.
	UpTo int
	// Own says that the price comes from the user's file, and therefore also holds for servers
	// other than the vendor's.
	Own bool
}

// Cost returns the price of a call in US dollars, nil when it is not known: because no tokens were
// reported, or because the prompt is longer than the price holds for.
func (p Price) Cost(u record.Usage) *float64 {
	if u.Prompt <= 0 && u.Completion <= 0 || p.UpTo > 0 && u.Prompt > p.UpTo {
		return nil
	}
	cached := p.Input
	if p.Cached != nil {
		cached = *p.Cached
	}
	hit := min(u.Cached, u.Prompt)
	cost := (float64(u.Prompt-hit)*p.Input + float64(hit)*cached + float64(u.Completion)*p.Output) / 1e6
	return &cost
}

// Prices finds the price of a model by its name. It does not change once made.
type Prices struct {
	exact map[string]Price
	// prefixes are the names that end in *, the longest first.
	prefixes []prefixPrice
}

type prefixPrice struct {
	prefix string
	Price
}

// dated is the end of a model's name that names a version of it: -2025-04-14, -20250414 or -0613.
var dated = regexp.MustCompile(`-(20\d\d-\d\d-\d\d|20\d{6}|[01]\d[0-3]\d)$`)

// Find returns the price of a model: of the name itself, of the name without its date, or of the
// longest prefix that the user's file gives. Nothing else is guessed: gpt-4o-audio is not gpt-4o.
func (p *Prices) Find(model string) (Price, bool) {
	if p == nil {
		return Price{}, false
	}
	if price, ok := p.exact[model]; ok {
		return price, true
	}
	if price, ok := p.exact[dated.ReplaceAllString(model, "")]; ok {
		return price, true
	}
	for _, e := range p.prefixes {
		if strings.HasPrefix(model, e.prefix) {
			return e.Price, true
		}
	}
	return Price{}, false
}

var builtin = sync.OnceValue(func() *Prices {
	p, err := parsePrices("prices.yaml", builtinPrices, Prices{}, origin{})
	if err != nil {
		panic(err) // the embedded file is covered by a test
	}
	return p
})

// LoadPrices reads a user's price file. Its models are added to the built-in ones and win over
// them; with `replace: true` only they count. Without a path it returns the built-in table. The
// error is config.Errors with file and line.
func LoadPrices(path string) (*Prices, error) {
	if path == "" {
		return builtin(), nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &config.Error{Pos: config.Pos{File: path}, Problem: "cannot read the price file", Err: reason(err)}
	}
	if len(data) > maxPriceFile {
		return nil, config.Errorf(config.Pos{File: path}, "%d bytes are too much for a price file", len(data))
	}
	return parsePrices(path, data, *builtin(), origin{own: true})
}

const maxPriceFile = 1 << 20

// reason strips the path, which the message names already, from a file error.
func reason(err error) error {
	if pe, ok := errors.AsType[*os.PathError](err); ok {
		return pe.Err
	}
	return err
}

// origin says whose prices a file holds.
type origin struct{ own bool }

// priceParser collects the entries of one file with every mistake in it.
type priceParser struct {
	file string
	from origin
	errs config.Errors
}

func parsePrices(file string, data []byte, base Prices, from origin) (*Prices, error) {
	pp := &priceParser{file: file, from: from}
	root, err := pp.root(data)
	if err != nil {
		return nil, err
	}
	found := map[string]Price{}
	replace := false
	for _, e := range pp.entries(root, "", "a mapping with models") {
		switch e.key {
		case "models":
			for _, m := range pp.entries(e.value, "models", "a mapping of model names to prices") {
				found[m.key] = pp.price(m)
			}
		case "replace":
			b, ok := e.value.(*ast.BoolNode)
			if !ok {
				pp.fail(e.value, "replace", "not a boolean", "true or false")
				continue
			}
			replace = b.Value
		default:
			pp.unknown(e, "", "models, replace")
		}
	}
	if len(found) == 0 && len(pp.errs) == 0 {
		pp.fail(root, "models", "no model has a price", "models: {NAME: {input: …, output: …}}")
	}
	if err := pp.errs.Err(); err != nil {
		return nil, err
	}
	out := &Prices{exact: map[string]Price{}}
	if !replace {
		maps.Copy(out.exact, base.exact)
		out.prefixes = append(out.prefixes, base.prefixes...)
	}
	for name, price := range found {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			out.prefixes = append(out.prefixes, prefixPrice{prefix, price})
			continue
		}
		out.exact[name] = price
	}
	sort.SliceStable(out.prefixes, func(i, j int) bool {
		a, b := out.prefixes[i], out.prefixes[j]
		if len(a.prefix) != len(b.prefix) {
			return len(a.prefix) > len(b.prefix)
		}
		return a.prefix < b.prefix
	})
	return out, nil
}

func (pp *priceParser) root(data []byte) (ast.Node, error) {
	f, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		e := &config.Error{Pos: config.Pos{File: pp.file}, Problem: "invalid YAML: " + err.Error()}
		if syntax, ok := errors.AsType[yaml.Error](err); ok {
			if tk := syntax.GetToken(); tk != nil && tk.Position != nil {
				e.Line, e.Column = tk.Position.Line, tk.Position.Column
			}
			e.Problem = "invalid YAML: " + syntax.GetMessage()
		}
		return nil, e
	}
	if len(f.Docs) != 1 || f.Docs[0].Body == nil {
		return nil, &config.Error{Pos: config.Pos{File: pp.file}, Problem: "not a price file", Want: "one document with models"}
	}
	return f.Docs[0].Body, nil
}

func (pp *priceParser) at(n ast.Node, key string) config.Pos {
	p := config.Pos{File: pp.file, Key: key}
	if n == nil {
		return p
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	return p
}

func (pp *priceParser) fail(n ast.Node, key, problem, want string) {
	e := &config.Error{Pos: pp.at(n, key), Problem: problem, Want: want}
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode, nil:
	default:
		e.Value = n.GetToken().Value
	}
	pp.errs = append(pp.errs, e)
}

func (pp *priceParser) unknown(e entry, under, known string) {
	pos := pp.at(e.node, under)
	pp.errs = append(pp.errs, &config.Error{Pos: pos.At(e.key), Problem: fmt.Sprintf("unknown key %q", e.key), Want: known})
}

// entry is a key of a mapping with its value.
type entry struct {
	key   string
	node  ast.Node // the key
	value ast.Node
}

// entries lists a mapping in order and reports keys given twice.
func (pp *priceParser) entries(n ast.Node, key, want string) []entry {
	var values []*ast.MappingValueNode
	switch m := n.(type) {
	case *ast.MappingNode:
		values = m.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{m}
	default:
		pp.fail(n, key, "not a mapping", want)
		return nil
	}
	seen := map[string]bool{}
	var out []entry
	for _, v := range values {
		name := v.Key.GetToken().Value
		if seen[name] {
			pp.errs = append(pp.errs, config.Errorf(pp.at(v.Key, key).At(name), "duplicate key %q", name))
			continue
		}
		seen[name] = true
		out = append(out, entry{name, v.Key, v.Value})
	}
	return out
}

func (pp *priceParser) price(model entry) Price {
	p := Price{Own: pp.from.own}
	under := "models." + model.key
	seen := map[string]bool{}
	for _, e := range pp.entries(model.value, under, "input, cached_input, output, up_to") {
		seen[e.key] = true
		v, ok := number(e.value)
		if !ok || !NotNegative(v) {
			pp.fail(e.value, under+"."+e.key, "not a number of at least 0", "US dollars per million tokens")
			continue
		}
		switch e.key {
		case "input":
			p.Input = v
		case "output":
			p.Output = v
		case "cached_input":
			p.Cached = &v
		case "up_to":
			if v != float64(int(v)) || v < 1 {
				pp.fail(e.value, under+".up_to", "not a number of tokens", "a whole number from 1")
				continue
			}
			p.UpTo = int(v)
		default:
			pp.unknown(e, under, "input, cached_input, output, up_to")
		}
	}
	for _, key := range []string{"input", "output"} {
		if !seen[key] {
			pp.errs = append(pp.errs, &config.Error{Pos: pp.at(model.node, under), Problem: "no " + key + " price", Want: key + ": US dollars per million tokens"})
		}
	}
	return p
}

func number(n ast.Node) (float64, bool) {
	switch n.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		v, err := strconv.ParseFloat(strings.ReplaceAll(n.GetToken().Value, "_", ""), 64)
		return v, err == nil
	}
	return 0, false
}
