package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// tryDisk fills the disk under the data directory while the server runs.
func tryDisk(ctx context.Context, o options, dir string) (outcome, error) {
	dir = filepath.Join(dir, "disk")
	disk := filepath.Join(dir, "mount")
	return tryFull(ctx, o, outage{name: "disk full", dir: dir, data: filepath.Join(disk, "data"), flood: o.flood}, disk)
}

// tryStoreDisk fills the disk of the store alone: the bus goes on, and writes to the database fail in the midst of them.
func tryStoreDisk(ctx context.Context, o options, dir string) (outcome, error) {
	dir = filepath.Join(dir, "storedisk")
	data := filepath.Join(dir, "data")
	return tryFull(ctx, o, outage{name: "the store's disk full", dir: dir, data: data}, filepath.Join(data, "store"))
}

// tryFull runs an outage that is a full disk, mounted at a place.
func tryFull(ctx context.Context, o options, g outage, disk string) (out outcome, err error) {
	if err := os.MkdirAll(disk, 0o700); err != nil {
		return out, err
	}
	if text, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "size=512m,mode=0700", "tmpfs", disk).CombinedOutput(); err != nil {
		out.row = fmt.Sprintf("| %s | not measured: a small disk cannot be mounted here (%.80s) | | | | | | | | | | |\n", g.name, text)
		out.unmeasured = true
		out.miss("not measured: %w", err)
		return out, nil
	}
	defer func() {
		err = errors.Join(err, exec.CommandContext(context.WithoutCancel(ctx), "umount", disk).Run())
	}()
	filler := filepath.Join(disk, "filler")
	g.back = time.Minute
	g.begin = func(context.Context, int) error { return fill(filler) }
	g.end = func(context.Context, int) error { return os.Remove(filler) }
	m, err := g.try(ctx, o)
	if err != nil {
		return out, err
	}
	return m.report(o, g.name, fmt.Sprintf("%d × %v", len(m.turns), o.window), g.flood), nil
}

// fill writes to a file until the disk is full.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for size := 1 << 16; size > 0; size /= 16 { // to the last byte
		block := make([]byte, size)
		for err = nil; err == nil; {
			_, err = f.Write(block)
		}
	}
	return f.Close()
}
