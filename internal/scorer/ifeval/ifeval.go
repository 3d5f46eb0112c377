// Package ifeval checks whether an answer follows instructions that can be verified: the 25 of
// IFEval (Zhou et al., "Instruction-Following Evaluation for Large Language Models", 2023).
//
// It is for benchmarks in IFEval's format, which give each prompt a list of instruction ids and
// their arguments, and for suites that use the same instructions. It is not a judge of what an
// answer says. It knows nothing about suites or runs and reads no files.
//
// The verdicts are those of the reference implementation (google-research,
// instruction_following_eval), whose Python semantics are followed to the letter, oddities
// included. Three things differ, all where the reference draws lots: a missing argument is an
// error and not a random one, a letter argument that is not a Latin letter is taken literally, and
// language detection gives the answer that langdetect gives most often.
//
// Data passes through in two steps: Compile checks ids and arguments once and makes a Checker;
// its Check judges any number of answers.
package ifeval

import (
	"fmt"
	"slices"
	"strings"
)

// Version changes whenever some answer may get another verdict.
const Version = "1"

// englishPrefix is what multilingual editions put before the ids of the English instructions.
const englishPrefix = "en:"

// Result is the verdict on one instruction.
type Result struct {
	// ID is the instruction's id as it was given to Compile.
	ID string `json:"id"`
	// Strict says whether the answer as it is follows the instruction.
	Strict bool `json:"strict"`
	// Loose says whether it does after leaving out its first or last line or both, or its
	// asterisks, or neither: a friendly preamble or bold type then does no harm. Strict implies Loose.
	Loose bool `json:"loose"`
	// Reason says what the answer has and what was asked for.
	Reason string `json:"-"`
}

// Error is an instruction that cannot be checked: its place in the list, the argument and the value
// that are wrong, and what was expected.
type Error struct {
	Index   int    // in the list of ids, from 0
	ID      string // as given
	Arg     string // empty when the id itself is wrong
	Value   string // as given; empty when it is missing
	Problem string
	Want    string
}

// Error returns one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "instruction %d %q", e.Index, e.ID)
	if e.Arg != "" {
		fmt.Fprintf(&b, ": argument %s", e.Arg)
	}
	if e.Value != "" {
		fmt.Fprintf(&b, " is %s", e.Value)
	}
	fmt.Fprintf(&b, ": %s", e.Problem)
	if e.Want != "" {
		fmt.Fprintf(&b, "; want %s", e.Want)
	}
	return b.String()
}

// Checker checks answers against one list of instructions. It is safe for concurrent use.
type Checker struct {
	instructions []instruction
}

type instruction struct {
	id    string
	check check
}

// check judges one text. It returns whether the text follows the instruction, and what the text has
// against what was asked for. An error means that it cannot tell.
type check func(t *text) (bool, string, error)

// IDs returns the 25 ids, sorted.
func IDs() []string {
	out := make([]string, 0, len(verifiers))
	for id := range verifiers {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// Compile makes a Checker for instruction ids and their arguments, one mapping for each id.
//
// An id may carry the prefix en:, as in multilingual editions; other prefixes stand for other
// instructions, which are not known here. Arguments may be int, int64, uint64, float64, string,
// []string or []any; those that are nil and those that the instruction does not have are ignored,
// for the published data sets list every argument with every id. The error is an *Error unless the
// lists do not fit each other.
func Compile(ids []string, kwargs []map[string]any) (*Checker, error) {
	if len(ids) == 0 {
		return nil, fmt.Errorf("no instruction ids")
	}
	if len(ids) != len(kwargs) {
		return nil, fmt.Errorf("%d instruction ids and %d argument mappings; want as many", len(ids), len(kwargs))
	}
	c := &Checker{instructions: make([]instruction, len(ids))}
	for i, id := range ids {
		a := args{index: i, id: id, values: kwargs[i]}
		compile, ok := verifiers[strings.TrimPrefix(id, englishPrefix)]
		if !ok {
			return nil, &Error{Index: i, ID: id, Problem: "unknown instruction", Want: "one of " + strings.Join(IDs(), ", ")}
		}
		check := compile(&a)
		if a.err != nil {
			return nil, a.err
		}
		c.instructions[i] = instruction{id, check}
	}
	return c, nil
}

// Check returns a verdict on each instruction, in the order given to Compile. An error means that
// one of them could not be checked, for a keyword that is a regular expression takes too long.
func (c *Checker) Check(response string) ([]Result, error) {
	out := make([]Result, len(c.instructions))
	whole := &text{s: response}
	var others []*text
	for i, in := range c.instructions {
		out[i].ID = in.id
		ok, reason, err := in.follows(whole)
		if err != nil {
			return nil, err
		}
		out[i].Strict, out[i].Loose, out[i].Reason = ok, ok, reason
		if ok {
			continue
		}
		if others == nil {
			others = variants(response)
		}
		for _, t := range others {
			if out[i].Loose, _, err = in.follows(t); err != nil {
				return nil, err
			}
			if out[i].Loose {
				break
			}
		}
	}
	return out, nil
}

// follows is check, but a blank text follows nothing.
func (in *instruction) follows(t *text) (bool, string, error) {
	if t.blank() {
		return false, "the answer is blank", nil
	}
	ok, reason, err := in.check(t)
	if err != nil {
		return false, "", fmt.Errorf("%s: %w", in.id, err)
	}
	return ok, reason, nil
}

// variants returns the texts besides the whole that may follow an instruction loosely: without the
// first line, the last, and both, and each of these and the whole without asterisks. None comes
// twice, for what is the same gets the same verdict.
func variants(response string) []*text {
	first, last := strings.IndexByte(response, '\n'), strings.LastIndexByte(response, '\n')
	cut := []string{response, "", "", ""}
	if first >= 0 {
		cut[1] = strip(response[first+1:])
		cut[2] = strip(response[:last])
		if first < last {
			cut[3] = strip(response[first+1 : last])
		}
	}
	out := make([]*text, 0, 7)
	add := func(s string) {
		if s == response || slices.ContainsFunc(out, func(t *text) bool { return t.s == s }) {
			return
		}
		out = append(out, &text{s: s})
	}
	for _, s := range cut {
		add(s)
		add(strings.ReplaceAll(s, "*", ""))
	}
	return out
}

// text is an answer or a variant of it, with what several instructions ask of it.
type text struct {
	s       string
	lowered string
	isBlank int8 // 0 not known, 1 blank, -1 not blank
}

func (t *text) lower() string {
	if t.lowered == "" {
		t.lowered = lower(t.s)
	}
	return t.lowered
}

func (t *text) blank() bool {
	if t.isBlank == 0 {
		t.isBlank = -1
		if blank(t.s) {
			t.isBlank = 1
		}
	}
	return t.isBlank > 0
}
