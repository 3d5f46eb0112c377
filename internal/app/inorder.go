package app

import (
	"bytes"
	"iter"
	"sync"
)

// Lines travel between goroutines in batches, so that handing them over costs little. Few batches
// are on their way at a time: memory does not grow with the number of lines.
const (
	batchLines = 64
	batchBytes = 256 << 10
	batches    = 4
)

// batch is some lines in a row with what they were decoded to.
type batch[T any] struct {
	first int // number of the first line, from 0
	lines [][]byte
	out   []T
	err   error // what ended the lines, after out
	done  chan struct{}
}

func (b *batch[T]) decode(f func(n int, line []byte) (T, error)) {
	defer close(b.done)
	for i, line := range b.lines {
		v, err := f(b.first+i, line)
		if err != nil {
			b.err = err
			return
		}
		b.out = append(b.out, v)
	}
}

// inOrder decodes lines on several goroutines and yields the results in the lines' order. A line is
// valid until the next is asked for, and is copied; decode must be safe for concurrent use. An error
// is yielded last. When the loop over it ends, so have its goroutines.
func inOrder[T any](lines iter.Seq2[[]byte, error], decode func(n int, line []byte) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		queue := make(chan *batch[T], batches)
		stop := make(chan struct{})
		var work sync.WaitGroup
		defer work.Wait()
		defer close(stop)
		work.Go(func() {
			defer close(queue)
			n, size := 0, 0
			b := &batch[T]{done: make(chan struct{})}
			send := func() bool {
				size = 0
				full := b
				b = &batch[T]{first: n, done: make(chan struct{})}
				work.Go(func() { full.decode(decode) })
				select {
				case queue <- full:
					return true
				case <-stop:
					return false
				}
			}
			for line, err := range lines {
				if err != nil {
					b.err = err
					break
				}
				n++
				size += len(line)
				b.lines = append(b.lines, bytes.Clone(line))
				if (len(b.lines) == batchLines || size >= batchBytes) && !send() {
					return
				}
			}
			send()
		})
		for b := range queue {
			<-b.done
			for _, v := range b.out {
				if !yield(v, nil) {
					return
				}
			}
			if b.err != nil {
				var none T
				yield(none, b.err)
				return
			}
		}
	}
}
