package gateway

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

const (
	// maxIdle bounds the connections kept for later to one upstream, idleFor how long they are kept, and doubtAfter
	// how long one may rest before time is spent on looking at it, where looking costs time.
	maxIdle    = 512
	idleFor    = 90 * time.Second
	doubtAfter = time.Second

	dialTimeout    = 10 * time.Second
	maxAnswerHead  = 256 << 10
	connReadBuffer = 8 << 10
	// writeAside is the size of a request from which it is written beside the reading of the answer: an upstream may
	// refuse a large body before it has read it.
	writeAside = 64 << 10
)

var (
	errAnswerHead = errors.New("the upstream's answer headers are too large")
	errBusyConns  = errors.New("all connections to the upstream are in use")
)

// conn is one HTTP/1.1 connection to an upstream. It belongs to one request at a time, whose goroutine writes and
// reads it: there are no others to hand bytes to and fro.
type conn struct {
	raw  net.Conn // the TCP connection, which abort closes
	sys  syscall.RawConn
	peek peeker
	nc   net.Conn // raw, or TLS on it
	br   *bufio.Reader
	idle time.Time
	// head bounds what is read while an answer's headers are expected; below 0 there is no bound.
	head int64
	got  bool // a byte of the present answer has arrived
	used bool // it has served a request before
	// writing is open while a large request is being written aside.
	writing chan struct{}
	wrote   error
}

// Read lets the buffered reader see the connection through the bound.
func (c *conn) Read(p []byte) (int, error) {
	if c.head == 0 {
		return 0, errAnswerHead
	}
	if c.head > 0 && int64(len(p)) > c.head {
		p = p[:c.head]
	}
	n, err := c.nc.Read(p)
	if n > 0 {
		c.got = true
		if c.head > 0 {
			c.head -= int64(n)
		}
	}
	return n, err
}

// abort ends whatever waits on the connection. It may be called from any goroutine.
func (c *conn) abort() { _ = c.raw.Close() }

// alive looks at a rested connection: nothing may have arrived, neither an end nor bytes, which would be taken for the
// answer to the next request. What TLS has to say for itself is read.
func (c *conn) alive() bool {
	if c.br.Buffered() > 0 {
		return false
	}
	c.head = maxAnswerHead
	if c.raw.SetReadDeadline(time.Now().Add(200*time.Microsecond)) != nil {
		return false
	}
	_, err := c.br.Peek(1)
	ne, ok := errors.AsType[net.Error](err)
	return ok && ne.Timeout()
}

// write sends a request: the head, and the body when that is not behind the head already. A body of its own is
// written aside; written must be called before the bytes are used for something else.
func (c *conn) write(head, body []byte) error {
	if body == nil {
		_, err := c.nc.Write(head)
		return err
	}
	done := make(chan struct{})
	c.writing = done
	go func() {
		defer close(done)
		buffers := net.Buffers{head, body}
		_, c.wrote = buffers.WriteTo(c.nc)
	}()
	return nil
}

// written says whether the whole request has gone out, and ends the writing if it has not.
func (c *conn) written() bool {
	if c.writing == nil {
		return true
	}
	select {
	case <-c.writing:
	default:
		c.abort()
		<-c.writing
		c.wrote = errors.New("not written")
	}
	c.writing = nil
	return c.wrote == nil
}

// pool keeps the connections to one upstream.
type pool struct {
	addr   string
	secure *tls.Config // nil without TLS
	proxy  func(*url.URL) (*url.URL, error)
	url    *url.URL
	slots  chan struct{} // bounds connections; nil for no bound

	mu     sync.Mutex
	idle   []*conn
	closed bool
}

// get returns a rested connection, or opens one.
func (p *pool) get(ctx context.Context, fresh bool, deadline time.Time) (*conn, error) {
	if p.slots != nil {
		select {
		case p.slots <- struct{}{}:
		default:
			if err := p.wait(ctx, deadline); err != nil {
				return nil, err
			}
		}
	}
	for !fresh {
		c := p.pop()
		if c == nil {
			break
		}
		if rest := time.Since(c.idle); rest < idleFor && c.quiet(rest) {
			return c, nil
		}
		c.abort()
	}
	c, err := p.dial(ctx, deadline)
	if err != nil {
		p.leave()
	}
	return c, err
}

func (p *pool) wait(ctx context.Context, deadline time.Time) error {
	t := time.NewTimer(time.Until(deadline))
	defer t.Stop()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errBusyConns
	}
}

func (p *pool) leave() {
	if p.slots != nil {
		<-p.slots
	}
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.idle)
	if n == 0 {
		return nil
	}
	c := p.idle[n-1]
	p.idle[n-1] = nil
	p.idle = p.idle[:n-1]
	return c
}

// put takes a connection back. One that is not whole is closed.
func (p *pool) put(c *conn, whole bool, now time.Time) {
	p.leave()
	if !whole {
		c.abort()
		return
	}
	c.idle, c.used = now, true
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdle {
		p.mu.Unlock()
		c.abort()
		return
	}
	// The last one given back is the first to be used again, so those that nobody needs gather at the front.
	var old *conn
	if len(p.idle) > 0 && now.Sub(p.idle[0].idle) > idleFor {
		old = p.idle[0]
		p.idle = p.idle[:copy(p.idle, p.idle[1:])]
	}
	p.idle = append(p.idle, c)
	p.mu.Unlock()
	if old != nil {
		old.abort()
	}
}

// close ends the rested connections; those in use end when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, c := range idle {
		c.abort()
	}
}

func (p *pool) dial(ctx context.Context, deadline time.Time) (*conn, error) {
	if limit := time.Now().Add(dialTimeout); limit.Before(deadline) {
		deadline = limit
	}
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	via, err := p.proxy(p.url)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	addr := p.addr
	if via != nil {
		addr = hostPort(via)
	}
	var d net.Dialer
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, nc: raw, head: maxAnswerHead}
	if s, ok := raw.(syscall.Conn); ok {
		if c.sys, err = s.SyscallConn(); err != nil {
			c.abort()
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, c.abort)
	if via != nil {
		err = tunnel(raw, via, p.addr)
	}
	if err == nil && p.secure != nil {
		t := tls.Client(raw, p.secure)
		err = t.HandshakeContext(ctx)
		c.nc = t
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.abort()
		return nil, err
	}
	c.br = bufio.NewReaderSize(c, connReadBuffer)
	return c, nil
}

// tunnel asks a proxy for a connection to addr.
func tunnel(raw net.Conn, via *url.URL, addr string) error {
	if via.Scheme != "http" {
		return fmt.Errorf("a proxy of scheme %q; want http", via.Scheme)
	}
	req := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: addr}, Host: addr, Header: http.Header{}}
	if via.User != nil {
		password, _ := via.User.Password()
		basic := http.Request{Header: http.Header{}}
		basic.SetBasicAuth(via.User.Username(), password)
		req.Header.Set("Proxy-Authorization", basic.Header.Get("Authorization"))
	}
	if err := req.Write(raw); err != nil {
		return err
	}
	// Nothing follows the proxy's answer before this side speaks, so the buffer holds nothing else.
	resp, err := http.ReadResponse(bufio.NewReaderSize(raw, 1), req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answered %d", resp.StatusCode)
	}
	return nil
}

func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return net.JoinHostPort(u.Hostname(), u.Port())
	}
	if u.Scheme == "https" {
		return net.JoinHostPort(u.Hostname(), "443")
	}
	return net.JoinHostPort(u.Hostname(), "80")
}
