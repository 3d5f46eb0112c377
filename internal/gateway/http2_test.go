package gateway

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/telltale-llm/telltale/internal/config"
)

func h2c(cfg *config.Server) *config.Server {
	cfg.Listen = config.Listen{H2C: true}
	return cfg
}

// frames is a client of HTTP/2 that sends what it likes.
type frames struct {
	*http2.Framer
	c   net.Conn
	buf bytes.Buffer
	enc *hpack.Encoder
}

func dialFrames(t *testing.T, addr string) *frames {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	f := &frames{c: c, Framer: http2.NewFramer(c, c)}
	f.AllowIllegalWrites = true
	f.enc = hpack.NewEncoder(&f.buf)
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := f.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return f
}

// ask writes the headers of a request, and says what the last error was.
func (f *frames) ask(stream uint32, method, path string) error {
	f.buf.Reset()
	for _, h := range [][2]string{{":method", method}, {":scheme", "http"}, {":authority", "localhost"}, {":path", path}} {
		if err := f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
			return err
		}
	}
	return f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: f.buf.Bytes(), EndStream: true, EndHeaders: true})
}

// status reads the status of a stream's answer; empty when the stream or the connection ends without one.
func (f *frames) status(stream uint32) string {
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			return ""
		}
		switch fr := fr.(type) {
		case *http2.MetaHeadersFrame:
			if fr.StreamID == stream {
				return fr.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if fr.StreamID == stream {
				return ""
			}
		case *http2.GoAwayFrame:
			return ""
		}
	}
}

func askHTTP2(t *testing.T, addr, method, path string) string {
	t.Helper()
	f := dialFrames(t, addr)
	if err := f.ask(1, method, path); err != nil {
		t.Fatal(err)
	}
	return f.status(1)
}

// Floods of frames end their own connection at the most; others are served, and no memory is held.
func TestFloodsHTTP2(t *testing.T) {
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/hang" {
			select {
			case <-r.Context().Done():
			case <-hang:
			}
			return
		}
		_, _ = io.WriteString(w, "{}")
	})
	s := start(t, h2c(one(up)), Options{})
	f := func(name string, flood func(f *frames) error) {
		t.Helper()
		c := dialFrames(t, s.addr)
		go func() { _, _ = io.Copy(io.Discard, c.c) }() // what is answered does not hold the flood up
		if err := flood(c); err != nil && !broken(err) {
			t.Errorf("%s: %v", name, err)
		}
		if got := askHTTP2(t, s.addr, "GET", "/v1/models"); got != "200" {
			t.Errorf("%s: an honest request is answered with %q", name, got)
		}
		_ = c.c.Close()
	}
	f("requests taken back", func(f *frames) error {
		for n := range uint32(5000) {
			if err := errors.Join(f.ask(2*n+1, "GET", "/v1/hang"), f.WriteRSTStream(2*n+1, http2.ErrCodeCancel)); err != nil {
				return err
			}
		}
		return nil
	})
	f("more requests than are allowed", func(f *frames) error {
		for n := range uint32(5000) {
			if err := f.ask(2*n+1, "GET", "/v1/hang"); err != nil {
				return err
			}
		}
		return nil
	})
	f("headers without end", func(f *frames) error {
		f.buf.Reset()
		if err := f.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 1000)}); err != nil {
			return err
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.buf.Bytes()}); err != nil {
			return err
		}
		for range 20_000 {
			if err := f.WriteContinuation(1, false, f.buf.Bytes()); err != nil {
				return err
			}
		}
		return nil
	})
	f("a header that unpacks to many", func(f *frames) error {
		f.buf.Reset()
		if err := f.enc.WriteField(hpack.HeaderField{Name: "x-a", Value: strings.Repeat("a", 3900)}); err != nil {
			return err
		}
		block := append(bytes.Clone(f.buf.Bytes()), bytes.Repeat([]byte{0x80 | 62}, 12_000)...) // each the first of the dynamic table
		return f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true, EndHeaders: true})
	})
	f("settings", func(f *frames) error {
		for range 50_000 {
			if err := f.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1}); err != nil {
				return err
			}
		}
		return nil
	})
	f("pings", func(f *frames) error {
		for range 50_000 {
			if err := f.WritePing(false, [8]byte{}); err != nil {
				return err
			}
		}
		return nil
	})
	f("empty data", func(f *frames) error {
		f.buf.Reset()
		for _, h := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "localhost"}, {":path", "/v1/chat/completions"}} {
			if err := f.enc.WriteField(hpack.HeaderField{Name: h[0], Value: h[1]}); err != nil {
				return err
			}
		}
		if err := f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: f.buf.Bytes(), EndHeaders: true}); err != nil {
			return err
		}
		for range 50_000 {
			if err := f.WriteData(1, false, nil); err != nil {
				return err
			}
		}
		return nil
	})
	f("a window past its bounds", func(f *frames) error {
		return errors.Join(f.WriteWindowUpdate(0, 1<<31-1), f.WriteWindowUpdate(0, 1<<31-1))
	})
	f("noise", func(f *frames) error {
		_, err := f.c.Write(bytes.Repeat([]byte{0xff}, 1<<20))
		return err
	})
	waitFor(t, "the end of the requests", func() bool { st := s.Stats(); return st.Routes["main"].InFlight == 0 && st.BodyBytes == 0 })
}

// broken says whether the other side ended the connection.
func broken(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || cutOff(err)
}
