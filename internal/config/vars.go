package config

import (
	"encoding/base64"
	"encoding/json"
	"mime"
	"path/filepath"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// wireVars is a mapping of variables, or references to files that hold some.
type wireVars struct {
	Object
	Files []string
}

func (v *wireVars) decodeNode(d *decoder, n ast.Node, p Pos) {
	if s, _, _, ok := d.text(n, d.pos(n, p)); ok {
		switch d.resolve(n).(type) {
		case *ast.StringNode, *ast.LiteralNode:
		default: // a number or a boolean names no file
			d.fail(d.pos(n, p), s, "not a mapping", "variables by name, or file:// to them")
			return
		}
		v.Files, v.Pos = []string{s}, d.pos(n, p)
		return
	}
	if _, isList := d.resolve(n).(*ast.SequenceNode); isList {
		var list wireStrings
		list.decodeNode(d, n, p)
		v.Files, v.Pos = list, d.pos(n, p)
		return
	}
	v.Object = d.object(n, p)
}

// vars reads the files that variables refer to. A pattern, or a list of references, makes a list.
func (l *loader) vars(w wireVars) map[string]any {
	if w.Files != nil {
		return l.varFiles(w.Files, w.Pos)
	}
	for k, v := range w.Map {
		switch v := v.(type) {
		case string:
			w.Map[k] = l.varText(v, w.At(k))
		case []any:
			for i, item := range v {
				if s, ok := item.(string); ok {
					v[i] = l.varText(s, w.At(k).At(index(i)))
				}
			}
		}
	}
	return w.Map
}

// varFiles joins the mappings in files; a later one wins.
func (l *loader) varFiles(refs []string, p Pos) map[string]any {
	out := map[string]any{}
	for _, ref := range refs {
		for _, file := range l.glob(strings.TrimPrefix(ref, "file://"), p) {
			v := l.fileValue("file://"+file, p, false)
			m, ok := v.(map[string]any)
			if v != nil && !ok {
				l.errs = append(l.errs, &Error{Pos: p, Value: file, Problem: "the file holds no mapping", Want: "variables by name"})
			}
			out = mergeMaps(out, m)
		}
	}
	return out
}

// varText is a variable's text as promptfoo has it: without the one line end that YAML's block texts
// have, or what the files that it refers to hold.
func (l *loader) varText(s string, p Pos) any {
	ref, isFile := strings.CutPrefix(s, "file://")
	switch {
	case !isFile && l.inline:
		return strings.TrimSuffix(s, "\n")
	case !isFile:
		return s
	case !strings.ContainsAny(ref, "*?["):
		return l.varFile(ref, p)
	}
	var out []any
	for _, file := range l.glob(ref, p) {
		out = append(out, l.varFile(file, p))
	}
	return out
}

// varFile is a file as a variable: text; YAML as JSON; an image as a data URI; other media in base64.
func (l *loader) varFile(path string, p Pos) any {
	ext := strings.ToLower(filepath.Ext(path))
	unsupported := func(why string) any {
		l.params.unsupported = append(l.params.unsupported, &Error{Pos: p, Value: path, Problem: why})
		return nil
	}
	switch {
	case isProgram(path):
		return unsupported("variables computed by code are not supported")
	case ext == ".pdf":
		return unsupported("text is not read from PDF files")
	case ext == ".yaml" || ext == ".yml":
		sub, node, ok := l.yamlFile(path, p)
		if !ok {
			return nil
		}
		b, err := json.Marshal(sub.any(node, sub.pos(node, Pos{})))
		l.errs = append(l.errs, sub.errs...)
		if err != nil {
			l.errs = append(l.errs, &Error{Pos: p, Value: path, Err: err})
		}
		return string(b)
	}
	kind := mime.TypeByExtension(ext)
	if major, _, _ := strings.Cut(kind, "/"); ext != ".svg" && (major == "image" || major == "audio" || major == "video") && ext != ".ts" {
		_, data, ok := l.readBytes(path, p)
		if !ok {
			return nil
		}
		text := base64.StdEncoding.EncodeToString(data)
		if major == "image" {
			return "data:" + kind + ";base64," + text
		}
		return text
	}
	_, data, ok := l.read(path, p)
	if !ok {
		return nil
	}
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\r\n", "\n"))
}

// isProgram says whether a path is of a program's source, with or without the name of a function.
func isProgram(path string) bool {
	if i := strings.LastIndex(path, ":"); i > 1 {
		path = path[:i]
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".js", ".ts", ".mjs", ".cjs", ".mts", ".cts", ".py", ".rb", ".go", ".sh":
		return true
	}
	return false
}
