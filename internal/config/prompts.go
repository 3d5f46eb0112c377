package config

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"mime"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// prompts reads the key prompts: one item or a list of them.
func (l *loader) prompts(d *decoder, n ast.Node, p Pos) []Prompt {
	if fs, ok := d.labelledPrompts(n, p); ok {
		return l.labelled(d, fs)
	}
	items := d.listed(n, p)
	var out []Prompt
	for _, it := range items {
		out = append(out, l.prompt(d, it.node, it.pos)...)
	}
	if len(items) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Problem: "the list is empty", Want: "at least one prompt"})
	}
	seen := map[string]int{}
	for i := range out {
		label := out[i].Label
		if seen[label]++; seen[label] > 1 {
			out[i].Label = fmt.Sprintf("%s (%d)", label, seen[label])
		}
	}
	return out
}

// conversationVar is promptfoo's variable that holds what earlier cases asked and were answered.
const conversationVar = "_conversation"

// remembers says whether the prompt's templates use the conversation of earlier cases.
func (p *Prompt) remembers() bool {
	uses := func(text string) bool {
		_, after, found := strings.Cut(text, "{")
		return found && strings.Contains(after, conversationVar)
	}
	return uses(p.Text) || slices.ContainsFunc(p.Messages, func(m PromptMessage) bool {
		return uses(m.Text) || slices.ContainsFunc(m.Parts, func(part PromptPart) bool { return uses(part.Text) })
	})
}

// labelledPrompts returns the entries of promptfoo's mapping of prompts to labels; ok is false for a
// mapping that is one prompt.
func (d *decoder) labelledPrompts(n ast.Node, p Pos) ([]field, bool) {
	for _, v := range mappingValues(d.resolve(n)) {
		if slices.Contains(jsonKeys(reflect.TypeFor[wirePrompt]()), v.Key.GetToken().Value) {
			return nil, false
		}
	}
	return d.fields(n, p)
}

// labelled reads a mapping of files or texts to labels.
func (l *loader) labelled(d *decoder, fs []field) []Prompt {
	var out []Prompt
	for _, f := range fs {
		label, _, _, ok := d.text(f.value, f.pos)
		if !ok || label == "" {
			d.fail(f.pos, d.show(f.value), "not a label", "a mapping of prompt files to labels, or one prompt with raw, file or messages")
			continue
		}
		if path, isFile := promptPath(f.key, true); isFile {
			out = append(out, l.promptFiles(path, label, f.pos)...)
			continue
		}
		out = append(out, Prompt{Pos: f.pos, Label: label, Text: f.key})
	}
	return out
}

func (l *loader) prompt(d *decoder, n ast.Node, p Pos) []Prompt {
	if s, plain, _, ok := d.text(n, p); ok {
		if path, isFile := promptPath(s, plain); isFile {
			return l.promptFiles(path, "", p)
		}
		if strings.TrimSpace(s) == "" {
			d.fail(p, s, "an empty prompt", "a template")
			return nil
		}
		return []Prompt{{Pos: p, Label: textLabel(s), Text: s}}
	}
	if _, isList := d.resolve(n).(*ast.SequenceNode); isList {
		ms := l.messages(d, n, p)
		return []Prompt{{Pos: p, Label: messagesLabel(ms), Messages: ms}}
	}
	return l.promptMapping(d, n, p)
}

// promptPath tells a path from a template: a file:// reference, or, as promptfoo has it, a plain
// word that ends like a prompt file.
func promptPath(s string, plain bool) (string, bool) {
	if path, ok := strings.CutPrefix(s, "file://"); ok {
		return path, true
	}
	if plain && !strings.ContainsAny(s, " \n{}") && isProgram(s) {
		return s, true
	}
	if !plain || strings.ContainsAny(s, " \n{}") {
		return "", false
	}
	switch strings.ToLower(filepath.Ext(s)) {
	case ".txt", ".md", ".j2", ".json", ".jsonl", ".yaml", ".yml", ".js", ".ts", ".mjs", ".cjs", ".py", ".csv":
		return s, true
	}
	return "", false
}

type wirePrompt struct {
	Pos      Pos     `json:"-"`
	ID       string  `json:"id,omitempty" jsonschema:"description=file:// reference or text (promptfoo)"`
	Label    string  `json:"label,omitempty" jsonschema:"description=Name in results"`
	Raw      string  `json:"raw,omitempty" jsonschema:"description=Template text"`
	File     string  `json:"file,omitempty" jsonschema:"description=Template file"`
	System   string  `json:"system,omitempty" jsonschema:"description=System prompt before the rest"`
	Messages nodeAt  `json:"messages,omitempty" jsonschema:"description=Chat messages with role and content"`
	Examples wireAny `json:"examples,omitempty" jsonschema:"description=Few-shot examples: a list or a file:// reference to one"`
}

func (l *loader) promptMapping(d *decoder, n ast.Node, p Pos) []Prompt {
	var w wirePrompt
	before := len(d.errs)
	d.into(n, p, reflect.ValueOf(&w).Elem())
	if len(d.errs) > before {
		return nil
	}
	sources := 0
	for _, given := range []bool{w.Raw != "", w.File != "", w.Messages.set, w.Raw == "" && w.File == "" && !w.Messages.set && w.ID != ""} {
		if given {
			sources++
		}
	}
	if sources != 1 {
		d.fail(p, "", "a prompt needs one source", "exactly one of raw, file, messages")
		return nil
	}
	var out []Prompt
	switch {
	case w.Messages.set:
		out = []Prompt{{Pos: p, Messages: l.messages(d, w.Messages.node, w.Messages.pos)}}
		out[0].Label = messagesLabel(out[0].Messages)
	case w.File != "":
		out = l.promptFiles(strings.TrimPrefix(w.File, "file://"), "", p.At("file"))
	case w.Raw != "":
		if path, isFile := promptPath(w.Raw, true); isFile {
			out = l.promptFiles(path, "", p.At("raw"))
		} else {
			out = []Prompt{{Pos: p, Label: textLabel(w.Raw), Text: w.Raw}}
		}
	default:
		if path, isFile := promptPath(w.ID, true); isFile {
			out = l.promptFiles(path, "", p.At("id"))
		} else {
			out = []Prompt{{Pos: p, Label: textLabel(w.ID), Text: w.ID}}
		}
	}
	examples := l.examples(w.Examples)
	for i := range out {
		if w.Label != "" {
			out[i].Label = w.Label
		}
		if w.System != "" {
			out[i].withSystem(w.System)
		}
		if w.Raw != "" || w.File != "" || w.Messages.set {
			out[i].ID = w.ID
		}
		out[i].Examples = examples
	}
	return out
}

// withSystem puts a system message first; a text prompt becomes the user's message.
func (p *Prompt) withSystem(system string) {
	if len(p.Messages) == 0 {
		p.Messages = []PromptMessage{{Role: "user", Text: p.Text}}
		p.Text = ""
	}
	p.Messages = append([]PromptMessage{{Role: "system", Text: system}}, p.Messages...)
}

// examples reads few-shot examples, given as a list or a reference to one.
func (l *loader) examples(v wireAny) []any {
	if v.Any == nil {
		return nil
	}
	if ref, ok := v.Any.(string); ok {
		v.Any = l.fileValue(ref, v.Pos, false)
		if v.Any == nil {
			return nil
		}
	}
	list, ok := v.Any.([]any)
	if !ok || len(list) == 0 {
		l.errs = append(l.errs, &Error{Pos: v.Pos, Problem: "not a list of examples", Want: "a list of mappings, or a file:// reference to one (YAML, JSON, JSONL)"})
		return nil
	}
	for i, e := range list {
		if _, ok := e.(map[string]any); !ok {
			l.errs = append(l.errs, &Error{Pos: v.Pos.At(index(i)), Value: fmt.Sprint(e), Problem: "not a mapping", Want: "an example with named parts, such as {question, answer}"})
			return nil
		}
	}
	return list
}

// promptFiles reads the prompts in the files that a path or glob names.
func (l *loader) promptFiles(path, label string, p Pos) []Prompt {
	var out []Prompt
	for _, file := range l.glob(path, p) {
		out = append(out, l.promptFile(file, label, p)...)
	}
	return out
}

func (l *loader) promptFile(file, label string, p Pos) []Prompt {
	ext := strings.ToLower(filepath.Ext(file))
	switch {
	case isProgram(file):
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: p, Value: file, Problem: "prompt functions are not supported"})
		return nil
	}
	full, data, ok := l.read(file, p)
	if !ok {
		return nil
	}
	given := label
	if label == "" {
		label = file
	}
	d := l.decoder(full)
	text, _ := l.params.expandEnvOnly(d, Pos{File: full}, string(data))
	l.errs = append(l.errs, d.errs...)
	text = strings.TrimSuffix(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	var parts, labels []string
	switch ext {
	case ".csv":
		parts, labels = csvPrompts(text)
	case ".json", ".yaml", ".yml":
		if ms, ok := l.chatFile(full, text); ok {
			return []Prompt{{Pos: p, Label: label, Messages: ms}}
		}
		parts = []string{text}
	case ".jsonl":
		parts = strings.Split(text, "\n")
	case ".txt":
		parts = textPrompts(text)
	default:
		parts = []string{text}
	}
	var out []Prompt
	for i, part := range parts {
		part = strings.Trim(part, "\n")
		if strings.TrimSpace(part) == "" {
			continue
		}
		pr := Prompt{Pos: p, Label: label, Text: part}
		if i > 0 {
			pr.Label = fmt.Sprintf("%s#%d", label, i+1)
		}
		if labels != nil {
			pr.Label = csvLabel(labels[i], given, part, i, len(parts))
		}
		out = append(out, pr)
	}
	if len(out) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Value: file, Problem: "the prompt file is empty", Want: "a template"})
	}
	return out
}

// csvLabel is the label of a prompt in a CSV file: the row's, or else one made of the file's and the text.
func csvLabel(row, given, text string, i, of int) string {
	switch {
	case row != "":
		return row
	case given == "":
		return fmt.Sprintf("Prompt %d - %s", i+1, textLabel(text))
	case of > 1:
		return given + ": " + textLabel(text)
	}
	return given
}

// textPrompts splits a text at the lines that hold three dashes and nothing else.
func textPrompts(text string) []string {
	var parts []string
	var part strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "---" {
			parts = append(parts, part.String())
			part.Reset()
			continue
		}
		part.WriteString(line)
	}
	return append(parts, part.String())
}

// chatFile reads a file that is a list of chat messages as it stands. A file that becomes one only
// when it is rendered, such as JSON with a Jinja loop, is left as text.
func (l *loader) chatFile(full, text string) ([]PromptMessage, bool) {
	if strings.Contains(text, "{%") {
		return nil, false
	}
	sub := l.decoder(full)
	node, ok := sub.parseYAML([]byte(text))
	if !ok {
		return nil, false
	}
	if _, isList := sub.resolve(node).(*ast.SequenceNode); !isList {
		return nil, false
	}
	ms := l.messages(sub, node, sub.pos(node, Pos{}))
	l.errs = append(l.errs, sub.errs...)
	return ms, true
}

type wireMessage struct {
	Role     string           `json:"role,omitempty"`
	Content  nodeAt           `json:"content,omitempty"`
	Examples *wireExamplePair `json:"examples,omitempty" jsonschema:"description=Stands for a user and an assistant message per example"`
}

type wireExamplePair struct {
	User      string `json:"user"`
	Assistant string `json:"assistant"`
}

type wirePart struct {
	Type     string    `json:"type"`
	Text     string    `json:"text,omitempty"`
	ImageURL *wireLink `json:"image_url,omitempty"`
}

type wireLink struct {
	URL    string `json:"url"`
	Detail string `json:"detail,omitempty"`
}

// decodeNode takes an address alone, or a mapping with url and detail.
func (v *wireLink) decodeNode(d *decoder, n ast.Node, p Pos) {
	if s, _, _, ok := d.text(n, d.pos(n, p)); ok {
		v.URL = s
		return
	}
	type plain wireLink
	d.into(n, p, reflect.ValueOf((*plain)(v)).Elem())
}

func (l *loader) messages(d *decoder, n ast.Node, p Pos) []PromptMessage {
	list, ok := d.resolve(n).(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		d.fail(d.pos(n, p), d.show(n), "not a list of messages", "at least one message with role and content")
		return nil
	}
	var out []PromptMessage
	for i, item := range list.Values {
		at := d.pos(item, p.At(index(i)))
		var w wireMessage
		d.into(item, at, reflect.ValueOf(&w).Elem())
		if w.Examples != nil {
			out = append(out, PromptMessage{Each: &ExamplePair{w.Examples.User, w.Examples.Assistant}})
			continue
		}
		m := PromptMessage{Role: w.Role}
		switch w.Role {
		case "system", "user", "assistant", "developer", "tool":
		default:
			d.fail(at, w.Role, "not a role", "system, developer, user, assistant or tool")
		}
		if !w.Content.set {
			d.fail(at, "", "a message without content", "content: a template, or a list of parts")
			continue
		}
		if s, _, _, ok := d.text(w.Content.node, w.Content.pos); ok {
			m.Text = s
		} else {
			m.Parts = l.parts(d, w.Content.node, w.Content.pos)
		}
		out = append(out, m)
	}
	return out
}

func (l *loader) parts(d *decoder, n ast.Node, p Pos) []PromptPart {
	var ws []wirePart
	d.into(n, p, reflect.ValueOf(&ws).Elem())
	var out []PromptPart
	for i, w := range ws {
		at := p.At(index(i))
		switch {
		case w.Type == "text" && w.ImageURL == nil:
			out = append(out, PromptPart{Text: w.Text})
		case w.Type == "image_url" && w.ImageURL != nil && w.ImageURL.URL != "":
			out = append(out, PromptPart{ImageURL: l.image(w.ImageURL.URL, at), Detail: w.ImageURL.Detail})
		default:
			d.fail(at, w.Type, "not a message part", "type: text with text, or type: image_url with image_url")
		}
	}
	return out
}

// image turns a file:// reference into a data URI and leaves other addresses as they are.
func (l *loader) image(url string, p Pos) string {
	path, isFile := strings.CutPrefix(url, "file://")
	if !isFile || strings.Contains(url, "{{") {
		return url
	}
	kind := mime.TypeByExtension(strings.ToLower(filepath.Ext(path)))
	if !strings.HasPrefix(kind, "image/") {
		l.errs = append(l.errs, &Error{Pos: p, Value: path, Problem: "not an image file by its name", Want: ".png, .jpg, .gif or .webp"})
		return ""
	}
	_, data, ok := l.readBytes(path, p)
	if !ok {
		return ""
	}
	return "data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(data)
}

// fileValue reads a file:// reference as a value: YAML, JSON and JSONL are parsed, other files are
// text, or with lines set a list of their lines.
func (l *loader) fileValue(ref string, p Pos, lines bool) any {
	path, ok := strings.CutPrefix(ref, "file://")
	if !ok {
		l.errs = append(l.errs, &Error{Pos: p, Value: ref, Problem: "not a file reference", Want: "file://PATH"})
		return nil
	}
	if isProgram(path) {
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: p, Value: ref, Problem: "values computed by code are not supported"})
		return nil
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".yaml", ".yml", ".json":
		sub, node, ok := l.yamlFile(path, p)
		if !ok {
			return nil
		}
		v := sub.any(node, sub.pos(node, Pos{}))
		l.errs = append(l.errs, sub.errs...)
		return v
	case ".jsonl", ".ndjson":
		return l.jsonLines(path, p)
	}
	_, data, ok := l.read(path, p)
	if !ok {
		return nil
	}
	text := strings.TrimPrefix(strings.ReplaceAll(string(data), "\r\n", "\n"), "\ufeff")
	if !lines {
		return strings.TrimSpace(text)
	}
	var out []any
	for _, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) != "" {
			out = append(out, line)
		}
	}
	if out == nil {
		l.errs = append(l.errs, &Error{Pos: p, Value: ref, Problem: "the file is empty", Want: "one item a line"})
	}
	return out
}

func (l *loader) jsonLines(path string, p Pos) any {
	full, data, ok := l.read(path, p)
	if !ok {
		return nil
	}
	var out []any
	for i, line := range strings.Split(string(data), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			l.errs = append(l.errs, &Error{Pos: Pos{File: full, Line: i + 1}, Value: line, Problem: "invalid JSON", Err: err})
			return nil
		}
		out = append(out, v)
	}
	return out
}

// glob returns the files that a path or pattern names, at least one.
func (l *loader) glob(path string, p Pos) []string {
	if !strings.ContainsAny(path, "*?[") || l.opts.Glob == nil {
		return []string{path}
	}
	files, err := l.opts.Glob(l.resolve(path))
	if err != nil || len(files) == 0 {
		l.errs = append(l.errs, &Error{Pos: p, Value: path, Problem: "the pattern matches no file", Err: err})
		return nil
	}
	for i, f := range files {
		if rel, err := filepath.Rel(l.dir, f); err == nil && !filepath.IsAbs(path) {
			files[i] = filepath.ToSlash(rel)
		}
	}
	return files
}

// checkPromptNames reports providers restricted to prompts that do not exist.
func (l *loader) checkPromptNames(s *Suite) {
	var all []string
	for _, p := range s.Prompts {
		all = append(all, p.Label)
	}
	for _, pr := range s.Providers {
		for _, name := range pr.Prompts {
			if !slices.ContainsFunc(s.Prompts, func(p Prompt) bool { return Refers(name, p.Names()...) }) {
				l.errs = append(l.errs, &Error{Pos: pr.Pos.At("prompts"), Value: name, Problem: "no prompt has this label", Want: "one of " + strings.Join(all, ", ")})
			}
		}
	}
}

func textLabel(s string) string {
	s = strings.TrimSpace(s)
	line, rest, _ := strings.Cut(s, "\n")
	label := Clip(line, 60)
	if rest != "" && label == line {
		label += " …"
	}
	return label
}

func messagesLabel(ms []PromptMessage) string {
	for i := len(ms) - 1; i >= 0; i-- {
		if ms[i].Text != "" {
			return textLabel(ms[i].Role + ": " + ms[i].Text)
		}
	}
	return "chat"
}
