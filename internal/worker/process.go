package worker

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

const (
	// drain is how long pipes are read on after the process has gone, in case something it started
	// left the process group and still holds them open.
	drain = 200 * time.Millisecond
	// linger is how long a process may live on after it closed its standard output or input.
	linger = 200 * time.Millisecond
	// tailBytes is how much of standard error is kept for messages.
	tailBytes = 4 << 10
	// shownLine is how much of a bad line a message shows.
	shownLine = 200
)

// process is one running program.
type process struct {
	opts  *Options
	cmd   *exec.Cmd
	stdin *os.File
	// writing is held while a request is written: lines must not interleave.
	writing chan struct{}
	// ended is closed once the process is reaped and its pipes are read to their end.
	ended chan struct{}

	mu       sync.Mutex
	queue    []*call // without an answer yet, the oldest first
	answered bool
	reaped   bool
	fault    *Error // why it can no longer be used; nil while it can
	// owed says that nobody has been told of fault although it puts earlier answers in doubt.
	owed bool
	tail []byte // the end of standard error
}

// call is a request under way. done is filled exactly once.
type call struct {
	id   string
	done chan result
}

type result struct {
	line []byte
	err  *Error
}

// start runs the program in a process group of its own. supervised counts it until it is gone.
func start(opts *Options, supervised *sync.WaitGroup) (*process, error) {
	failed := func(err error) error {
		return &Error{Reason: NotStarted, Message: opts.Redact(fmt.Sprintf("cannot start %s: %v", opts.Command[0], err)), Err: err}
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, failed(err)
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		closeAll(inR, inW)
		return nil, failed(err)
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		closeAll(inR, inW, outR, outW)
		return nil, failed(err)
	}
	cmd := exec.Command(opts.Command[0], opts.Command[1:]...) //nolint:noctx // a process outlives the call that starts it
	cmd.Dir, cmd.Env = opts.Dir, opts.Env
	if cmd.Env == nil {
		cmd.Env = []string{}
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = inR, outW, errW
	ownGroup(cmd)
	err = cmd.Start()
	closeAll(inR, outW, errW)
	if err != nil {
		closeAll(inW, outR, errR)
		return nil, failed(err)
	}
	p := &process{opts: opts, cmd: cmd, stdin: inW, writing: make(chan struct{}, 1), ended: make(chan struct{})}
	supervised.Go(func() { p.supervise(outR, errR) })
	return p, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		_ = f.Close() // nothing to be done about a pipe that does not close
	}
}

// state says whether the process can still be used, and if not, why.
func (p *process) state() (fault *Error, answered, owed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	owed, p.owed = p.owed, false
	return p.fault, p.answered, owed
}

// call hands over one request and waits for its answer.
func (p *process) call(ctx context.Context, id string, line []byte, timeout time.Duration) ([]byte, error) {
	c := &call{id: id, done: make(chan result, 1)}
	p.mu.Lock()
	if p.fault != nil {
		err := p.fault
		p.mu.Unlock()
		return nil, err
	}
	p.queue = append(p.queue, c)
	p.mu.Unlock()

	after := "while it waited for the program's answer"
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
		after += fmt.Sprintf(" (limit %s)", timeout)
	}
	// Killing the process also ends a write that blocks because the program does not read.
	stop := context.AfterFunc(ctx, func() { p.stop(contextError(ctx, after), c) })
	defer stop()
	p.writing <- struct{}{}
	_, err := p.stdin.Write(append(line, '\n'))
	<-p.writing
	if err != nil {
		// The program ended, or closed its input; its exit tells more than the broken pipe.
		select {
		case r := <-c.done:
			return r.value()
		case <-time.After(linger):
			p.stop(&Error{Reason: Exited, Message: "the program closed its standard input" + p.lastWords(), Err: err}, c)
		}
	}
	r := <-c.done
	return r.value()
}

func (r result) value() ([]byte, error) {
	if r.err != nil {
		return nil, r.err
	}
	return r.line, nil
}

// stop makes the process unusable and kills it. The culprit, which may be nil, fails with fault;
// every other request under way fails with Exited, for it may well succeed with the next process.
// A culprit that has its answer already was only late to say so, and nothing happens.
func (p *process) stop(fault *Error, culprit *call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if culprit != nil && !slices.Contains(p.queue, culprit) {
		return
	}
	queue := p.queue
	p.queue = nil
	if p.fault == nil {
		p.fault = fault
		p.owed = fault.Reason == Malformed && len(queue) == 0
	}
	for _, c := range queue {
		if c == culprit {
			c.done <- result{err: fault}
			continue
		}
		c.done <- result{err: collateral(fault)}
	}
	if !p.reaped {
		killGroup(p.cmd)
	}
}

// collateral is what a request fails with when another one brought the process down.
func collateral(fault *Error) *Error {
	switch fault.Reason {
	case Exited, Closed:
		return fault
	}
	return &Error{Reason: Exited, Message: "the program was ended because another request failed: " + fault.Message, Err: fault}
}

// supervise reads the pipes, waits for the end of the process and reaps it and all it started.
func (p *process) supervise(stdout, stderr *os.File) {
	defer close(p.ended)
	outDone, errDone, exited := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() { defer close(outDone); p.readAnswers(stdout) }()
	go func() { defer close(errDone); p.readErrors(stderr) }()
	go func() { exited <- p.cmd.Wait() }()
	var err error
	select {
	case err = <-exited:
	case <-outDone:
		select {
		case err = <-exited:
		case <-time.After(linger):
			killGroup(p.cmd)
			err = <-exited
		}
	}
	p.mu.Lock()
	p.reaped = true
	p.mu.Unlock()
	killGroup(p.cmd) // what it left behind
	deadline := time.Now().Add(drain)
	_, _ = stdout.SetReadDeadline(deadline), stderr.SetReadDeadline(deadline)
	<-outDone
	<-errDone
	closeAll(stdout, stderr, p.stdin)
	p.stop(&Error{Reason: Exited, Message: "the program ended (" + p.opts.Redact(exitText(err)) + ")" + p.lastWords(), Err: err}, nil)
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// readAnswers hands out the lines of standard output.
func (p *process) readAnswers(stdout io.Reader) {
	r := bufio.NewReaderSize(stdout, 64<<10)
	for {
		line, err := readLine(r, p.opts.MaxLine)
		if errors.Is(err, errLineTooLong) {
			p.blame(&Error{Reason: TooLarge, Message: fmt.Sprintf("the program wrote a line of more than %d bytes: %s", p.opts.MaxLine, p.show(line))})
			_, _ = io.Copy(io.Discard, r) // until the killed process lets go of the pipe
			return
		}
		if len(bytes.TrimSpace(line)) > 0 && !p.deliver(line) {
			_, _ = io.Copy(io.Discard, r)
			return
		}
		if err != nil {
			return
		}
	}
}

var errLineTooLong = errors.New("line too long")

// readLine returns the next line without its end, in memory of its own.
func readLine(r *bufio.Reader, limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit+1 {
			return line, errLineTooLong
		}
		if err == nil || !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(line, "\r\n"), err
		}
	}
}

// deliver gives an answer to the request it is for. It reports false when the line is no answer;
// the process is then stopped, for it is out of step with us.
func (p *process) deliver(line []byte) bool {
	id, err := answerID(line)
	if err != nil {
		p.blame(&Error{Reason: Malformed, Err: err, Message: fmt.Sprintf("the program wrote a line that is not a JSON object (%v): %s", err, p.show(line))})
		return false
	}
	p.mu.Lock()
	at := -1
	for i, c := range p.queue {
		if id == "" || c.id == id {
			at = i
			break
		}
	}
	if at < 0 {
		stopped := p.fault != nil
		p.mu.Unlock()
		if !stopped {
			p.blame(&Error{Reason: Malformed, Message: "the program wrote an answer that no request is waiting for: " + p.show(line)})
		}
		return false
	}
	c := p.queue[at]
	p.queue = append(p.queue[:at], p.queue[at+1:]...)
	p.answered = true
	p.mu.Unlock()
	c.done <- result{line: line}
	return true
}

// blame stops the process on account of what it wrote; the oldest request gets the fault.
func (p *process) blame(fault *Error) {
	p.mu.Lock()
	var oldest *call
	if len(p.queue) > 0 {
		oldest = p.queue[0]
	}
	p.mu.Unlock()
	p.stop(fault, oldest)
}

// answerID returns the id in an answer, "" when it has none. Ids are strings or numbers.
func answerID(line []byte) (string, error) {
	var a struct {
		ID json.RawMessage `json:"id"`
	}
	if err := json.Unmarshal(line, &a); err != nil {
		return "", err
	}
	if trimmed := bytes.TrimSpace(line); trimmed[0] != '{' {
		return "", errors.New("it is null")
	}
	if len(a.ID) == 0 || string(a.ID) == "null" {
		return "", nil
	}
	if a.ID[0] != '"' {
		return string(a.ID), nil
	}
	var s string
	err := json.Unmarshal(a.ID, &s)
	return s, err
}

// readErrors keeps the end of standard error.
func (p *process) readErrors(stderr io.Reader) {
	buf := make([]byte, 4<<10)
	for {
		n, err := stderr.Read(buf)
		p.mu.Lock()
		p.tail = append(p.tail, buf[:n]...)
		if len(p.tail) > 2*tailBytes {
			p.tail = append(p.tail[:0], p.tail[len(p.tail)-tailBytes:]...)
		}
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// lastWords returns the last lines of standard error, ready to be put behind a message.
func (p *process) lastWords() string {
	p.mu.Lock()
	text := strings.TrimSpace(strings.ToValidUTF8(string(p.tail), "\uFFFD"))
	p.mu.Unlock()
	if text == "" {
		return ""
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-5):]
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	return "; its last words: " + clip(p.opts.Redact(strings.Join(lines, " | ")), 600)
}

func (p *process) show(line []byte) string {
	return fmt.Sprintf("%q", clip(p.opts.Redact(string(line[:min(len(line), 4*shownLine)])), shownLine))
}

// clip shortens s to n bytes on a rune boundary.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// shut ends the process: by end of file when it is idle, by force when it is not or does not go.
func (p *process) shut(grace time.Duration) {
	p.mu.Lock()
	busy := len(p.queue) > 0
	if !busy && p.fault == nil {
		p.fault = errClosed()
	}
	p.mu.Unlock()
	if !busy {
		_ = p.stdin.Close() // may be closed already, when the process has gone
		select {
		case <-p.ended:
			return
		case <-time.After(grace):
		}
	}
	p.stop(errClosed(), nil)
	<-p.ended
}
