package app

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/audit"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/record"
)

// JudgeAuditOptions say where people's labels and a judge's verdicts are, and how they are read.
type JudgeAuditOptions struct {
	// Labels is a file of rows: JSON Lines, a JSON list, or CSV with a header. Verdicts is another such file or the
	// directory of a run; empty when the rows of Labels have the verdicts too.
	Labels, Verdicts string
	// Item, Humans, Judges and Swapped name columns. Empty ones are "item"; those that begin with human or
	// annotator; "judge"; none.
	Item            string
	Humans, Judges  []string
	Swapped         string
	Metric          string // of the run
	Provider        string // the label of the run's provider
	Name            string // of the judge, as a suite names it
	Map, SwapLabels map[string]string
	// Scale of the labels; empty for a nominal one.
	Scale audit.Scale
	// Invalid are verdicts that are none; InvalidAs is the label that they count as, empty to leave them out.
	Invalid   []string
	InvalidAs string
	// Against is a stored audit to compare with.
	Against string
	Alpha   float64
	// Now is the clock; nil for the system's.
	Now func() time.Time
}

// JudgeAudited is an audit with how it differs from an earlier one.
type JudgeAudited struct {
	*audit.Judge
	Drift []audit.Change `json:"drift,omitempty"`
}

// Drifted says that a number differs from the stored audit's.
func (a *JudgeAudited) Drifted() bool {
	return slices.ContainsFunc(a.Drift, func(c audit.Change) bool { return c.Drifted })
}

// AuditJudge measures the agreement of a judge with people. Mistakes are *config.Error.
func AuditJudge(o JudgeAuditOptions) (*JudgeAudited, error) {
	r := &ballots{o: o, index: map[string]int{}, labels: map[string]bool{}, strange: map[string]int{}}
	for _, to := range o.Map {
		r.labels[audit.Canonical(to)] = true
	}
	if o.InvalidAs != "" {
		r.labels[audit.Canonical(o.InvalidAs)] = true
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	j := audit.Measure(r.votes, r.o.Humans, o.Scale)
	j.Made = clock(o.Now)
	j.Telltale, j.Name, j.Metric, j.Signature = Version, o.Name, o.Metric, r.signature
	j.Treatment = r.treatment()
	out := &JudgeAudited{Judge: j}
	if o.Against == "" {
		return out, nil
	}
	was, err := readAudit(config.Pos{Key: "--against"}, o.Against)
	if err != nil {
		return nil, err
	}
	if was.Signature != j.Signature || was.Name != j.Name {
		return nil, &config.Error{Pos: config.Pos{Key: "--against"}, Value: o.Against, Problem: "is the audit of another judge, " + cmp.Or(was.Signature, was.Name, "without a name"), Want: cmp.Or(j.Signature, j.Name, "one without a name")}
	}
	if was.Scale != j.Scale {
		return nil, &config.Error{Pos: config.Pos{Key: "--against"}, Value: o.Against, Problem: "has labels of another scale, " + string(cmp.Or(was.Scale, audit.Nominal)), Want: string(cmp.Or(j.Scale, audit.Nominal))}
	}
	out.Drift = audit.Drift(was, j, cmp.Or(o.Alpha, config.DefaultAlpha))
	return out, nil
}

// ballots gathers votes by item.
type ballots struct {
	o         JudgeAuditOptions
	votes     []audit.Votes
	index     map[string]int
	labels    map[string]bool // of people, and those named on the command line
	strange   map[string]int  // verdicts that people do not use
	signature string
}

func (r *ballots) read() error {
	rows, err := readTable(r.o.Labels)
	if err != nil {
		return err
	}
	columns := columnsOf(rows)
	r.o.Item = cmp.Or(r.o.Item, "item")
	if len(r.o.Humans) == 0 {
		for _, c := range columns {
			if strings.HasPrefix(c, "human") || strings.HasPrefix(c, "annotator") {
				r.o.Humans = append(r.o.Humans, c)
			}
		}
	}
	if len(r.o.Humans) == 0 {
		return &config.Error{Pos: config.Pos{File: r.o.Labels}, Problem: "which columns are people's labels?", Want: "--human COLUMN, of " + strings.Join(columns, ", ")}
	}
	own := r.o.Verdicts == ""
	if len(r.o.Judges) == 0 {
		r.o.Judges = []string{"judge"}
	}
	need := append([]string{r.o.Item}, r.o.Humans...)
	if own {
		need = append(need, r.verdictColumns()...)
	}
	if err := demandColumns(r.o.Labels, columns, need); err != nil {
		return err
	}
	for _, row := range rows {
		if err := r.people(row); err != nil {
			return err
		}
		if own {
			if err := r.verdicts(row); err != nil {
				return err
			}
		}
	}
	if err := r.others(); err != nil {
		return err
	}
	if err := r.known(); err != nil {
		return err
	}
	return r.ordinal()
}

// ordinal refuses labels that have no place on an ordinal scale.
func (r *ballots) ordinal() error {
	if r.o.Scale != audit.Ordinal {
		return nil
	}
	for _, label := range slices.Sorted(maps.Keys(r.labels)) {
		if !audit.Numeric(label) {
			return &config.Error{Pos: config.Pos{File: r.o.Labels}, Value: label, Problem: "not a number, and so without a place on an ordinal scale", Want: "numbers, or --map " + label + "=NUMBER"}
		}
	}
	return nil
}

// others reads the verdicts that are not beside the labels.
func (r *ballots) others() error {
	if r.o.Verdicts == "" {
		return nil
	}
	if info, err := os.Stat(r.o.Verdicts); err == nil && info.IsDir() {
		return r.run()
	}
	rows, err := readTable(r.o.Verdicts)
	if err != nil {
		return err
	}
	if err := demandColumns(r.o.Verdicts, columnsOf(rows), append([]string{r.o.Item}, r.verdictColumns()...)); err != nil {
		return err
	}
	for _, row := range rows {
		if err := r.verdicts(row); err != nil {
			return err
		}
	}
	return nil
}

func (r *ballots) verdictColumns() []string {
	if r.o.Swapped == "" {
		return r.o.Judges
	}
	return append(slices.Clone(r.o.Judges), r.o.Swapped)
}

// demandColumns refuses columns that no row has.
func demandColumns(file string, columns, need []string) error {
	for _, c := range need {
		if slices.Contains(columns, c) {
			continue
		}
		e := &config.Error{Pos: config.Pos{File: file}, Value: c, Problem: "no row has this column", Want: "one of " + strings.Join(columns, ", ")}
		if near := config.Nearest(c, columns); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
		return e
	}
	return nil
}

// of finds the votes on an item.
func (r *ballots) of(item string) *audit.Votes {
	i, ok := r.index[item]
	if !ok {
		i = len(r.votes)
		r.index[item] = i
		r.votes = append(r.votes, audit.Votes{Item: item, Humans: make([]string, len(r.o.Humans))})
	}
	return &r.votes[i]
}

// itemOf finds the votes on the item of a row.
func (r *ballots) itemOf(row tableRow) (*audit.Votes, error) {
	item, _ := labelOf(row.fields[r.o.Item])
	if item == "" {
		return nil, &config.Error{Pos: row.pos.At(r.o.Item), Problem: "the row does not say which item it is about", Want: "a name or a number"}
	}
	return r.of(item), nil
}

// people takes the labels of a row.
func (r *ballots) people(row tableRow) error {
	v, err := r.itemOf(row)
	if err != nil {
		return err
	}
	for k, column := range r.o.Humans {
		label, _ := labelOf(row.fields[column])
		label = r.mapped(label)
		if label == "" {
			continue
		}
		if v.Humans[k] != "" && v.Humans[k] != label {
			return &config.Error{Pos: row.pos.At(column), Value: label, Problem: fmt.Sprintf("item %q was labelled %q in another row", v.Item, v.Humans[k]), Want: "one label of one person"}
		}
		v.Humans[k] = label
		r.labels[label] = true
	}
	return nil
}

func (r *ballots) mapped(label string) string {
	for from, to := range r.o.Map {
		if audit.Canonical(from) == label {
			return audit.Canonical(to)
		}
	}
	return label
}

// verdicts takes what the judge said in a row.
func (r *ballots) verdicts(row tableRow) error {
	v, err := r.itemOf(row)
	if err != nil {
		return err
	}
	for _, column := range r.o.Judges {
		if label, given := labelOf(row.fields[column]); given {
			r.vote(v, label)
		}
	}
	if r.o.Swapped == "" {
		return nil
	}
	if label, given := labelOf(row.fields[r.o.Swapped]); given && !r.invalid(label) {
		label = r.mapped(label)
		for from, to := range r.o.SwapLabels {
			if audit.Canonical(from) == label {
				label = audit.Canonical(to)
				break
			}
		}
		v.Swapped = append(v.Swapped, label)
	}
	return nil
}

func (r *ballots) invalid(label string) bool {
	return label == "" || slices.ContainsFunc(r.o.Invalid, func(s string) bool { return audit.Canonical(s) == label })
}

func (r *ballots) vote(v *audit.Votes, label string) {
	invalid := r.invalid(label)
	if invalid {
		label = audit.Canonical(r.o.InvalidAs)
	} else {
		label = r.mapped(label)
	}
	v.Judge, v.Invalid = append(v.Judge, label), append(v.Invalid, invalid)
	if label != "" {
		r.strange[label]++
	}
}

// known refuses verdicts that people do not use: they could only disagree.
func (r *ballots) known() error {
	var list []string
	total := 0
	for label, n := range r.strange {
		total += n
		if !r.labels[label] {
			list = append(list, fmt.Sprintf("%q (%d)", label, n))
		}
	}
	if total == 0 {
		return &config.Error{Pos: config.Pos{File: cmp.Or(r.o.Verdicts, r.o.Labels)}, Problem: "holds no verdict of the judge"}
	}
	if len(list) == 0 {
		return nil
	}
	slices.Sort(list)
	return &config.Error{Pos: config.Pos{File: cmp.Or(r.o.Verdicts, r.o.Labels)}, Problem: "no person gave these labels of the judge: " + strings.Join(list, ", "),
		Want: "--map LABEL=LABEL for the same label in other words, --invalid LABEL for what is no verdict", Hint: "--map X=X takes the label X as it is"}
}

// treatment says how labels were read.
func (r *ballots) treatment() string {
	parts := []string{"a text and a number that read the same are one label"}
	for _, from := range slices.Sorted(maps.Keys(r.o.Map)) {
		parts = append(parts, fmt.Sprintf("%q is taken for %q", from, r.o.Map[from]))
	}
	what := "empty verdicts"
	if len(r.o.Invalid) > 0 {
		what = fmt.Sprintf("verdicts %q and empty ones", r.o.Invalid)
	}
	if r.o.InvalidAs != "" {
		parts = append(parts, fmt.Sprintf("%s are invalid and count as %q", what, r.o.InvalidAs))
	} else {
		parts = append(parts, what+" are invalid and left out, except in accuracy_with_invalid, where they are wrong")
	}
	label := "the one with most votes"
	if r.o.Scale == audit.Ordinal {
		label = "their median"
	}
	return strings.Join(append(parts, "people's label is "+label), "; ")
}

// run takes the verdicts of a finished run's metric; items are cases.
func (r *ballots) run() error {
	f, err := OpenRun(r.o.Verdicts)
	if err != nil {
		return err
	}
	signature, ok := f.Run.Scorers[r.o.Metric]
	if !ok {
		return &config.Error{Pos: config.Pos{Key: "--metric"}, Value: r.o.Metric, Problem: "the run has no such metric", Want: "one of " + strings.Join(slices.Sorted(maps.Keys(f.Run.Scorers)), ", ")}
	}
	r.signature = signature
	providers := map[string]bool{}
	for s, err := range ReadSamples(f.Dir) {
		if err != nil {
			return err
		}
		if r.o.Provider != "" && s.Provider != r.o.Provider {
			continue
		}
		providers[s.Provider+" "+s.Prompt] = true
		r.sample(&s, s.Scores)
	}
	if len(providers) > 1 {
		return &config.Error{Pos: config.Pos{File: r.o.Verdicts}, Problem: fmt.Sprintf("a case has answers of %d providers and prompts: which of them were labelled?", len(providers)), Want: "--run-provider LABEL, and a run of one prompt"}
	}
	return nil
}

func (r *ballots) sample(s *record.Sample, scores []record.Score) {
	for i := range scores {
		score := &scores[i]
		r.sample(s, score.Scores)
		if score.Name != r.o.Metric || score.Turn != 0 {
			continue
		}
		v := r.of(audit.Canonical(s.Case))
		switch {
		case score.Error != "" && score.Judge != nil && score.Judge.Invalid > 0:
			r.vote(v, "")
		case score.Error != "":
		case score.Pass != nil && *score.Pass:
			r.vote(v, "pass")
		case score.Pass != nil:
			r.vote(v, "fail")
		case score.Value != nil:
			r.vote(v, strconv.FormatFloat(*score.Value, 'g', -1, 64))
		}
		for _, m := range score.Measures {
			if m.Metric == r.o.Metric+".consistent" && len(v.Judge) == 1 && v.Judge[0] != "" {
				v.Swapped = []string{v.Judge[0]}
				if m.Value != 1 {
					v.Swapped[0] = "another verdict"
				}
			}
		}
	}
}

// clock is the time to the second, by the caller's clock where there is one.
func clock(now func() time.Time) time.Time {
	if now == nil {
		now = time.Now
	}
	return now().UTC().Truncate(time.Second)
}
