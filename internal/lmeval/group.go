package lmeval

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// groupKeys are those of a group itself; all others are settings of its tasks.
var groupKeys = []string{"group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag", "task_list", "include", "version"}

// group is a group of tasks that has metrics over all of them.
type group struct {
	name    string
	metrics []aggregate
	members []*Task // at any depth
	lost    []string
}

// aggregate is a metric of a group: the mean of a metric of its tasks.
type aggregate struct {
	pos     config.Pos
	metric  string
	filters []string // nil for all that its tasks have
	bySize  bool
}

// layer is a set of settings that go before those of a file.
type layer struct {
	vals map[string]any
	keys map[string]config.Pos
}

// over adds what stands above: its settings win.
func (y layer) over(other layer) layer {
	out := layer{maps.Clone(y.vals), maps.Clone(y.keys)}
	maps.Copy(out.vals, other.vals)
	maps.Copy(out.keys, other.keys)
	return out
}

// builder makes the tasks of a group, with those of the groups in it.
type builder struct {
	*loader
	out  *Loaded
	from map[*Task]*merged
	open []*group // the groups that are being read, outermost first
}

// groups reads the tasks of a group: mappings, or names of tasks, groups and tags.
func (l *loader) groups(out *Loaded, m *merged) {
	b := &builder{loader: l, out: out, from: map[*Task]*merged{}}
	out.Group = l.text(m, "group", "")
	if out.Group == "" {
		l.fail(m.at("group"), nil, "a list of tasks without a name", "group: with the name of the group")
	}
	b.group(out.Group, m, layer{}, 0)
	for _, g := range out.groups {
		l.aggregates(g)
	}
}

// group reads one group. Settings of the caller win over those of the group, and these over the tasks' own.
func (b *builder) group(name string, m *merged, caller layer, depth int) {
	if depth > maxInclude {
		b.errs = append(b.errs, config.Errorf(m.pos, "groups hold one another more than %d deep", maxInclude))
		return
	}
	g := &group{name: name, metrics: b.aggregateList(m)}
	b.out.groups = append(b.out.groups, g)
	b.open = append(b.open, g)
	defer func() { b.open = b.open[:len(b.open)-1] }()
	own := layer{map[string]any{}, map[string]config.Pos{}}
	for k, v := range m.vals {
		if !slices.Contains(groupKeys, k) {
			own.vals[k], own.keys[k] = v, m.at(k)
		}
	}
	settings := own.over(caller)
	list, ok := m.vals["task"].([]any)
	if !ok {
		b.fail(m.at("task"), m.vals["task"], "a group without tasks", "a list of tasks")
	}
	for i, item := range list {
		at := m.at("task").At(fmt.Sprintf("[%d]", i))
		switch v := item.(type) {
		case string:
			b.named(m, v, at, settings, depth)
		case map[string]any:
			b.mapping(name, m, v, at, settings, depth)
		default:
			b.fail(at, item, "not a task", "the name of a task or a mapping")
		}
	}
}

// named adds the tasks that a name stands for.
func (b *builder) named(m *merged, name string, at config.Pos, settings layer, depth int) {
	files, isGroup := b.library.find(m.file, name, at)
	if files == nil {
		b.lose(name)
	}
	for _, f := range files {
		sub, ok := b.read(f, []byte(b.library.text(f)), 1)
		switch {
		case !ok:
		case isGroup:
			b.group(name, sub, settings, depth+1)
		default:
			b.task(sub, at, settings)
		}
	}
}

// mapping adds a group or a task that is written into a group, or one from a file with other settings.
func (b *builder) mapping(parent string, m *merged, v map[string]any, at config.Pos, settings layer, depth int) {
	item := layer{map[string]any{}, map[string]config.Pos{}}
	for k, e := range v {
		item.vals[k], item.keys[k] = e, at.At(k)
	}
	sub := &merged{pos: at, file: m.file, vals: item.vals, keys: item.keys}
	if name, ok := v["group"].(string); ok {
		if v["task"] == nil {
			delete(item.vals, "group")
			b.named(m, name, at.At("group"), settings.over(item), depth)
			return
		}
		b.group(parent+"::"+name, sub, settings, depth+1)
		return
	}
	name, ok := v["task"].(string)
	if ok && v["include"] == nil && v["dataset_path"] == nil && settings.vals["dataset_path"] == nil {
		delete(item.vals, "task")
		b.named(m, name, at.At("task"), settings.over(item), depth)
		return
	}
	base := &merged{pos: at, file: m.file, vals: map[string]any{}, keys: map[string]config.Pos{}}
	o := config.Object{Pos: at, Map: v, Keys: map[string]config.Pos{}}
	o.Pos.File = m.file
	if !b.includes(base, o, 1) {
		return
	}
	b.task(base, at, settings.over(item))
}

// task adds one task to all the groups that are being read.
func (b *builder) task(m *merged, at config.Pos, settings layer) {
	maps.Copy(m.vals, settings.vals)
	maps.Copy(m.keys, settings.keys)
	delete(m.vals, "include")
	t := b.loader.task(m)
	if t == nil { // why is among what is not supported
		b.lose(fmt.Sprint(m.vals["task"]))
		return
	}
	k := slices.IndexFunc(b.out.Tasks, func(o *Task) bool { return o.Name == t.Name })
	switch {
	case k < 0:
		b.out.Tasks = append(b.out.Tasks, t)
		b.from[t] = m
	case reflect.DeepEqual(b.from[b.out.Tasks[k]].vals, m.vals):
		t = b.out.Tasks[k] // the same one again
	default:
		b.fail(at, t.Name, "the group has two different tasks of this name", "a name for each")
		return
	}
	for _, g := range b.open {
		if !slices.Contains(g.members, t) {
			g.members = append(g.members, t)
		}
	}
}

func (b *builder) lose(name string) {
	for _, g := range b.open {
		g.lost = append(g.lost, name)
	}
}

// aggregateList reads aggregate_metric_list.
func (l *loader) aggregateList(m *merged) []aggregate {
	var list []any
	switch v := m.vals["aggregate_metric_list"].(type) {
	case nil:
		return nil
	case []any:
		list = v
	default:
		list = []any{v}
	}
	var out []aggregate
	for i, item := range list {
		at := m.at("aggregate_metric_list").At(fmt.Sprintf("[%d]", i))
		c, ok := item.(map[string]any)
		if !ok {
			l.fail(at, item, "not a metric of a group", "a mapping with metric")
			continue
		}
		o := config.Object{Pos: at, Map: c, Keys: map[string]config.Pos{}}
		a := aggregate{pos: at}
		if tag, ok := c["metric"].(config.Tagged); ok {
			l.unsupported(at.At("metric"), tag, "a metric that is a Python function is not supported")
			continue
		}
		if v := c["aggregation"]; v != nil && v != "mean" {
			l.unsupported(at.At("aggregation"), v, "only the mean of the tasks is supported")
			continue
		}
		r := o.Reader()
		a.metric, a.filters, a.bySize = r.String("metric", ""), r.Strings("filter_list"), r.Bool("weight_by_size", true)
		r.Any("aggregation")
		r.Any("higher_is_better")
		if a.metric == "" {
			r.Fail("metric", "a metric without a name", "the key metric")
		}
		if err := r.Finish(); err != nil {
			l.errs.Append(at, err)
			continue
		}
		out = append(out, a)
	}
	return out
}

// aggregates says how the metrics of a group are computed. One that all documents enter alike is counted
// from them, so that it has an interval like any other; the others are computed from the tasks' metrics.
func (l *loader) aggregates(g *group) {
	for _, a := range g.metrics {
		if g.lost != nil {
			l.unsupported(a.pos, a.metric, fmt.Sprintf("the mean over the group %s lacks %s", g.name, config.Clip(strings.Join(g.lost, ", "), 100)))
			continue
		}
		filters := a.filters
		if filters == nil {
			for _, t := range g.members {
				for _, m := range t.Metrics {
					if m.Name == a.metric && !slices.Contains(filters, m.Filter) {
						filters = append(filters, m.Filter)
					}
				}
			}
		}
		if filters == nil {
			l.unsupported(a.pos, a.metric, "no task of the group "+g.name+" has this metric")
		}
		for _, f := range filters {
			var parts []*Metric
			for _, t := range g.members {
				for i := range t.Metrics {
					if m := &t.Metrics[i]; m.Name == a.metric && m.Filter == f {
						parts = append(parts, m)
					}
				}
			}
			g.combine(a, Metric{Name: a.metric, Filter: f}.title(), parts)
			if len(parts) == 0 {
				l.unsupported(a.pos, a.metric, "no task of the group "+g.name+" has this metric behind the filter "+f)
			}
		}
	}
}

func (g *group) combine(a aggregate, title string, parts []*Metric) {
	name := g.name + "." + title
	for _, m := range parts { // of two metrics of one name the last one counts
		m.groups = slices.DeleteFunc(m.groups, func(s string) bool { return s == name })
		m.derived = slices.DeleteFunc(m.derived, func(s share) bool { return s.group == name })
	}
	if a.bySize && !slices.ContainsFunc(parts, func(m *Metric) bool { return aggregations[m.Name] != "" }) {
		for _, m := range parts {
			m.groups = append(m.groups, name)
		}
		return
	}
	for _, m := range parts {
		m.derived = append(m.derived, share{group: name, pos: a.pos, bySize: a.bySize})
	}
}

// share says that a metric enters the mean of a group.
type share struct {
	group  string
	pos    config.Pos
	bySize bool
}

// derived are the metrics of groups that are computed from those of the tasks.
func (l *Loaded) derived() []config.Derived {
	type sum struct {
		pos         config.Pos
		over, under []string
	}
	sums := map[string]*sum{}
	var order []string
	for _, t := range l.Tasks {
		for _, m := range t.Metrics {
			name := strconv.Quote(t.Name + "." + m.title())
			for _, s := range m.derived {
				if sums[s.group] == nil {
					sums[s.group] = &sum{pos: s.pos}
					order = append(order, s.group)
				}
				if d := sums[s.group]; s.bySize {
					d.over, d.under = append(d.over, "metrics["+name+"]*n["+name+"]"), append(d.under, "n["+name+"]")
				} else {
					d.over, d.under = append(d.over, "metrics["+name+"]"), append(d.under, "1.0")
				}
			}
		}
	}
	var out []config.Derived
	for _, name := range order {
		d := sums[name]
		out = append(out, config.Derived{Pos: d.pos, Name: name, Expr: total(d.over) + "/" + total(d.under)})
	}
	return out
}

// total adds terms in halves, so that no expression is nested deeply.
func total(terms []string) string {
	if len(terms) == 1 {
		return "(" + terms[0] + ")"
	}
	half := len(terms) / 2
	return "(" + total(terms[:half]) + "+" + total(terms[half:]) + ")"
}
