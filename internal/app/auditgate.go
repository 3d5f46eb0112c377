package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/telltale-llm/telltale/internal/audit"
	"github.com/telltale-llm/telltale/internal/config"
	"github.com/telltale-llm/telltale/internal/metric"
	"github.com/telltale-llm/telltale/internal/record"
)

// WriteAudit stores an audit with its digest.
func WriteAudit(path string, j *audit.Judge) error {
	stored := *j
	stored.Digest = ""
	b, err := json.Marshal(&stored)
	if err == nil {
		stored.Digest, err = digestOf(b)
	}
	if err == nil {
		b, err = json.MarshalIndent(&stored, "", "  ")
	}
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o644)
	}
	if err != nil {
		return &CouldNotRun{err}
	}
	return nil
}

// digestOf is the hash of an audit's content, but for the digest itself. It does not depend on how the JSON is laid out, nor
// on which keys this version knows.
func digestOf(data []byte) (string, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var content map[string]any
	if err := d.Decode(&content); err != nil {
		return "", err
	}
	delete(content, "digest")
	return record.HashJSON(content), nil
}

// readAudit reads an audit file, and refuses one that was changed since it was written. pos is where it is asked for.
func readAudit(pos config.Pos, path string) (*audit.Judge, error) {
	data, err := readBounded(path)
	if err != nil {
		return nil, &config.Error{Pos: pos, Value: path, Problem: "the judge's audit cannot be read", Err: cause(err), Hint: "telltale audit judge LABELS --out FILE writes one"}
	}
	var j audit.Judge
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err = d.Decode(&j)
	if _, more := d.Token(); err == nil && more != io.EOF {
		err = fmt.Errorf("something follows its end")
	}
	if err != nil || j.Telltale == "" || j.Items <= 0 {
		return nil, &config.Error{Pos: pos, Value: path, Problem: "not a judge's audit", Err: err, Want: "the file that telltale audit judge wrote"}
	}
	if digest, err := digestOf(data); err != nil || digest != j.Digest {
		return nil, &config.Error{Pos: pos, Value: path, Problem: "the audit is not as telltale wrote it: its content does not have the digest that it states", Err: err,
			Want: "the file that telltale audit judge wrote, unchanged"}
	}
	return &j, nil
}

// checkJudges refuses to run a suite whose gate asks for audits that its judges have not passed.
func (s *session) checkJudges() error {
	want := s.suite.Regression.Judges
	if want == nil || s.o.planning {
		return nil
	}
	judged := s.check.judged()
	if len(judged) == 0 {
		return &config.Error{Pos: want.Pos, Problem: "an audit is asked for, but no assertion of the suite asks a judge", Want: "a judge, or no judges under gate"}
	}
	audits, known := make([]*audit.Judge, len(want.Files)), map[string]bool{}
	for i, file := range want.Files {
		j, err := readAudit(file.Pos, s.auditPath(file))
		if err != nil {
			return err
		}
		name, err := knownAs(j, want.ByName, file)
		if err != nil {
			return err
		}
		audits[i], known[name] = j, true
	}
	check := s.knownBySignature
	if want.ByName {
		check = s.knownByName
	}
	if err := check(want, judged, known); err != nil {
		return err
	}
	for i, file := range want.Files {
		if err := passed(want, s.auditPath(file), audits[i], clock(s.o.Now)); err != nil {
			return err
		}
	}
	return nil
}

// auditPath is relative to the suite.
func (s *session) auditPath(file config.Named) string {
	if filepath.IsAbs(file.Name) {
		return file.Name
	}
	return filepath.Join(s.dir(), file.Name)
}

// knownAs is what tells the judge of an audit from others: its signature, or only its name where the suite takes that.
func knownAs(j *audit.Judge, byName bool, file config.Named) (string, error) {
	switch {
	case byName && j.Name == "":
		return "", &config.Error{Pos: file.Pos, Value: file.Name, Problem: "the audit does not name the judge", Hint: "telltale audit judge --name, with the judge's id"}
	case byName:
		return j.Name, nil
	case j.Signature == "":
		return "", &config.Error{Pos: file.Pos, Value: file.Name, Problem: "the audit does not know what the judge was asked: its verdicts are not those of a run", Want: "an audit with --verdicts RUN_DIR --metric NAME",
			Hint: "known_by: name takes an audit of the model, whatever it was asked"}
	}
	return j.Signature, nil
}

// knownBySignature refuses metrics whose recipe no audit has.
func (s *session) knownBySignature(want *config.JudgeAudit, judged map[string][]string, known map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(judged)) {
		signature := metric.Signature(judged[name]) // as a run has it
		if !known[signature] {
			return &config.Error{Pos: want.Files[0].Pos, Problem: fmt.Sprintf("no audit of the judge of metric %s, whose signature is %s: the audits are of %s", name, signature, strings.Join(slices.Sorted(maps.Keys(known)), ", ")),
				Hint: "audit the judge anew, as it is now; a model, prompt or rubric that differs makes another judge"}
		}
	}
	return nil
}

// knownByName refuses judges whose id no audit states.
func (s *session) knownByName(want *config.JudgeAudit, _ map[string][]string, known map[string]bool) error {
	for _, id := range s.services.judges() {
		if !known[id] {
			return &config.Error{Pos: want.Files[0].Pos, Problem: fmt.Sprintf("no audit of the judge %s: the audits are of %s", id, strings.Join(slices.Sorted(maps.Keys(known)), ", ")), Hint: "telltale audit judge --name " + id}
		}
	}
	if s.o.Notice != nil {
		s.o.Notice(want.Pos.String() + ": judges are known by name; that they are asked what was audited is not checked")
	}
	return nil
}

// passed says why an audit is not good enough.
func passed(want *config.JudgeAudit, path string, j *audit.Judge, now time.Time) error {
	if why := tooOld(j.Made, now, want.MaxAgeDays); why != "" {
		return &config.Error{Pos: want.Pos.At("max_age_days"), Value: path, Problem: "the judge's audit " + why, Hint: "audit the judge anew; telltale audit judge writes the date"}
	}
	low, ok := j.LowerBound(want.Coefficient)
	switch {
	case !ok:
		return &config.Error{Pos: want.Pos.At("coefficient"), Value: want.Coefficient, Problem: "the audit " + path + " has no interval of it", Want: "more labelled items, or one of " + strings.Join(j.Bounded(), ", ")}
	case !(low >= want.Agreement):
		return &config.Error{Pos: want.Pos.At("agreement"), Value: fmt.Sprint(want.Agreement), Problem: fmt.Sprintf("the judge has not passed its audit: the lower bound of %s is %.4f in %s", want.Coefficient, low, path), Hint: "a better judge, or more labelled items"}
	}
	return nil
}

// tooOld says why an audit made then is too old for a suite that asks for one of at most so many days; empty when it is not.
func tooOld(made, now time.Time, days int) string {
	age := now.Sub(made)
	switch {
	case days == 0:
		return ""
	case made.IsZero():
		return "does not say when it was made"
	case age < -24*time.Hour: // clocks differ, days do not
		return "is dated in the future, " + made.Format(time.DateOnly)
	case age > time.Duration(days)*24*time.Hour:
		return fmt.Sprintf("is too old: it was made on %s, %d days ago", made.Format(time.DateOnly), int(age.Hours()/24))
	}
	return ""
}
