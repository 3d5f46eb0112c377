package lmeval

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/telltale-llm/telltale/internal/config"
)

// library finds tasks by name in the folder of the file that names them and beneath, beneath the folder
// of the file that is read first, and in the folder include_path.
type library struct {
	l      *loader
	files  map[string][]string // by folder
	texts  map[string]string   // by file
	parsed map[string]config.Object
}

func newLibrary(l *loader) *library {
	return &library{l: l, files: map[string][]string{}, texts: map[string]string{}, parsed: map[string]config.Object{}}
}

// folders are where tasks are looked for, nearest first.
func (b *library) folders(file string) []string {
	out := []string{filepath.Dir(file)}
	for _, dir := range []string{b.l.dir, b.l.opts.Vars["include_path"]} {
		if dir != "" && !slices.Contains(out, dir) {
			out = append(out, dir)
		}
	}
	return out
}

// list lists the files of a folder.
func (b *library) list(dir string) ([]string, error) {
	files, ok := b.files[dir]
	if !ok {
		var err error
		if files, err = b.l.opts.Files(dir); err != nil {
			return nil, err
		}
		b.files[dir] = files
	}
	return files, nil
}

func (b *library) text(file string) string {
	text, ok := b.texts[file]
	if !ok {
		data, err := b.l.opts.Read(file)
		if err == nil { // a file that cannot be read has no tasks
			text = string(data)
		}
		b.texts[file] = text
	}
	return text
}

// object parses a file; one that is no mapping has no tasks.
func (b *library) object(file string) config.Object {
	o, ok := b.parsed[file]
	if !ok {
		o, _, _ = config.ParseObjectLast(file, []byte(b.text(file)))
		b.parsed[file] = o
	}
	return o
}

// find returns the files of the task of that name, or of the group, or else of all tasks with the tag, by
// the tasks' names. group says that the file is a group's.
func (b *library) find(from, name string, at config.Pos) (found []string, group bool) {
	dirs := b.folders(from)
	for _, dir := range dirs {
		files, err := b.list(dir)
		if err != nil {
			b.l.errs.Append(at, err)
			return nil, false
		}
		for _, f := range files {
			if f == from || !strings.Contains(b.text(f), name) {
				continue
			}
			switch o := b.object(f); {
			case o.Map["group"] == name:
				return []string{f}, true
			case o.Map["task"] == name && o.Map["group"] == nil:
				return []string{f}, false
			}
		}
	}
	if found = b.tagged(dirs, from, name); found == nil {
		e := &config.Error{Pos: at, Value: name, Problem: "no file in " + dirs[0] + " or beneath has a task, a group or a tag of this name", Want: "the name of a task whose file is there"}
		if b.l.opts.Vars["include_path"] == "" {
			e.Hint = "tasks in another folder are found with --var include_path=FOLDER"
		}
		b.l.left = append(b.l.left, e)
	}
	return found, false
}

// tagged returns the files of all tasks that have a tag, which may come from a file that they include.
func (b *library) tagged(dirs []string, from, tag string) []string {
	byName := map[string]string{}
	for _, dir := range dirs {
		for _, f := range b.files[dir] {
			o := b.object(f)
			name, isTask := o.Map["task"].(string)
			if !isTask || o.Map["group"] != nil || f == from {
				continue
			}
			if _, again := byName[name]; !again && slices.Contains(b.tags(o, 0), tag) {
				byName[name] = f
			}
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		out = append(out, byName[name])
	}
	return out
}

// tags are the tags of a file, its own or those of what it includes.
func (b *library) tags(o config.Object, depth int) []string {
	if v, own := o.Map["tag"]; own {
		return texts(v)
	}
	if depth >= maxInclude {
		return nil
	}
	includes := texts(o.Map["include"])
	for _, name := range slices.Backward(includes) { // the last one wins
		if t := b.tags(b.object(beside(o.Pos.File, name)), depth+1); t != nil {
			return t
		}
	}
	return nil
}

// texts reads a text or a list of texts; of other things there are none.
func texts(v any) []string {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		out := make([]string, 0, len(v))
		for _, e := range v {
			out = append(out, fmt.Sprint(e))
		}
		return out
	}
	return nil
}
