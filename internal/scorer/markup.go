package scorer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/scorer/sqltext"
)

// markupKinds are the checks on answers that are SQL or HTML.
func markupKinds() []Kind {
	const sqlRecipe = "mysql:tidb-parser postgresql:libpg_query17"
	return []Kind{
		{Name: "is-sql", Summary: "the output is SQL by the grammar of databaseType; with allowedTables or allowedColumns, it touches no others", Version: "1",
			Convention: sqlRecipe, Value: Optional, Build: withoutConfig(buildIsSQL)},
		{Name: "contains-sql", Summary: "a code block of the output, or else all of it, is SQL as is-sql asks", Version: "1",
			Convention: sqlRecipe, Value: Optional, Build: withoutConfig(buildContainsSQL)},
		{Name: "is-html", Summary: "the output is HTML: it has elements of HTML and, unless there is a body, no text outside of them", Version: "1",
			Value: Optional, Build: withoutConfig(buildIsHTML)},
		{Name: "contains-html", Summary: "the output contains HTML: two signs of it, such as an opening and a closing tag, or one common tag", Version: "1",
			Value: Optional, Build: withoutConfig(buildContainsHTML)},
	}
}

// sqlCheck is what is asked of SQL.
type sqlCheck struct {
	dialect sqltext.Dialect
	tables  []*regexp.Regexp // nil allows all
	columns []*regexp.Regexp
}

// readSQL reads the value {databaseType, allowedTables, allowedColumns}.
func readSQL(s Spec) (*sqlCheck, error) {
	if s.Value == nil {
		return &sqlCheck{}, nil
	}
	m, ok := s.Value.(map[string]any)
	if !ok {
		return nil, badValue(s, "the value is not a mapping", "a mapping such as {databaseType: postgresql, allowedTables: [users]}")
	}
	r := config.Object{Pos: s.ValuePos, Map: m}.Reader()
	c := &sqlCheck{}
	if name := r.String("databaseType", "mysql"); name != "" {
		if c.dialect, ok = sqltext.ParseDialect(name); !ok {
			r.Fail("databaseType", "telltale has no parser for this database", sqltext.Names)
		}
	}
	c.tables = sqlAllowList(r, "allowedTables")
	c.columns = sqlAllowList(r, "allowedColumns")
	return c, r.Finish()
}

// sqlAllowList compiles a list of what may be touched. An entry with :: is a pattern for the whole of
// ACTION::OWNER::NAME, as promptfoo has it, and stands for the name without its owner too. Any other
// entry is a plain name, with its owner before a dot or without, for every action.
func sqlAllowList(r *config.Reader, key string) []*regexp.Regexp {
	if !r.Has(key) {
		return nil
	}
	out := []*regexp.Regexp{}
	for _, entry := range r.Strings(key) {
		source := entry
		parts := strings.Split(entry, "::")
		switch {
		case len(parts) == 3 && key == "allowedColumns":
			source = fmt.Sprintf("%s::(?:%s|null)::%s", parts[0], parts[1], parts[2])
		case len(parts) == 3:
		case len(parts) != 1:
			r.Fail(key, fmt.Sprintf("%q has %d parts", entry, len(parts)), "ACTION::DATABASE::TABLE, ACTION::TABLE::COLUMN, or a name")
			continue
		default:
			owner, name, owned := strings.Cut(entry, ".")
			if !owned {
				owner, name = "", entry
			}
			source = "[a-z]+::.*::" + regexp.QuoteMeta(name)
			if owned {
				source = "[a-z]+::" + regexp.QuoteMeta(owner) + "::" + regexp.QuoteMeta(name)
			}
		}
		p, err := regexp.Compile("^(?i:" + source + ")$")
		if err != nil {
			r.Fail(key, fmt.Sprintf("%q is not a pattern: %v", entry, err), "names, or patterns such as select::null::users")
			continue
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		r.Fail(key, "the list is empty, which would refuse every statement that touches anything", "at least one name or pattern")
	}
	return out
}

// problem says why text is not the SQL that is asked for, "" when it is. An error is about not being
// able to tell.
func (c *sqlCheck) problem(text string) (string, error) {
	var refs sqltext.Refs
	var err error
	if c.tables == nil && c.columns == nil {
		err = sqltext.Check(c.dialect, text)
	} else {
		refs, err = sqltext.References(c.dialect, text)
	}
	if bad, ok := errors.AsType[*sqltext.SyntaxError](err); ok {
		return fmt.Sprintf("it is not %s: %s", c.dialect, config.Clip(bad.Message, 200)), nil
	}
	if err != nil {
		return "", err
	}
	for _, list := range []struct {
		what    string
		touched []string
		allowed []*regexp.Regexp
	}{{"table", refs.Tables, c.tables}, {"column", refs.Columns, c.columns}} {
		if list.allowed == nil {
			continue
		}
		for _, ref := range list.touched {
			if !slices.ContainsFunc(list.allowed, func(p *regexp.Regexp) bool { return p.MatchString(ref) }) {
				return fmt.Sprintf("the %s %s is not among the allowed ones", list.what, ref), nil
			}
		}
	}
	return "", nil
}

func buildIsSQL(s Spec) (Scorer, error) {
	c, err := readSQL(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		problem, err := c.problem(in.Response.Output)
		if err != nil {
			return Result{}, err
		}
		if problem != "" {
			return judged(false, "the output is not the SQL that is asked for: %s", problem), nil
		}
		return judged(true, "the output is valid %s", c.dialect), nil
	}), nil
}

func buildContainsSQL(s Spec) (Scorer, error) {
	c, err := readSQL(s)
	if err != nil {
		return nil, err
	}
	return Func(func(_ context.Context, in *Input) (Result, error) {
		candidates := sqlBlocks(in.Response.Output)
		if len(candidates) == 0 {
			candidates = []string{in.Response.Output}
		}
		last := "there is no statement"
		var failure error
		for _, text := range candidates {
			if strings.TrimSpace(text) == "" {
				continue
			}
			problem, err := c.problem(text)
			switch {
			case err != nil:
				failure = err
				continue
			case problem == "":
				return judged(true, "the output contains valid %s", c.dialect), nil
			}
			last = problem
		}
		if failure != nil {
			return Result{}, failure
		}
		return judged(false, "the output does not contain the SQL that is asked for: %s", last), nil
	}), nil
}

// sqlBlocks returns the contents of the Markdown code blocks that are marked as sql or not at all. A
// block that does not end is none.
func sqlBlocks(text string) []string {
	var out, body []string
	var mark byte
	length, isSQL := 0, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		c, n, info := fence(line)
		switch {
		case length == 0 && n > 0:
			info = strings.ToLower(strings.TrimSpace(info))
			mark, length, isSQL, body = c, n, info == "" || info == "sql", nil
		case length == 0:
		case c == mark && n >= length && strings.TrimSpace(info) == "":
			if isSQL {
				out = append(out, strings.TrimSpace(strings.Join(body, "\n")))
			}
			length = 0
		default:
			body = append(body, line)
		}
	}
	return out
}

// fence reads the fence of a code block: its character, how many there are, and what follows; 0 when
// the line is none.
func fence(line string) (mark byte, length int, info string) {
	rest := line
	for i := 0; i < 3 && rest != "" && (rest[0] == ' ' || rest[0] == '\t'); i++ {
		rest = rest[1:]
	}
	if rest == "" || rest[0] != '`' && rest[0] != '~' {
		return 0, 0, ""
	}
	mark = rest[0]
	for length < len(rest) && rest[length] == mark {
		length++
	}
	if length < 3 {
		return 0, 0, ""
	}
	return mark, length, rest[length:]
}
