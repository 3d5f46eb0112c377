package gateway

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// rawUpstream answers as fast as a process can, so that what is measured is the proxy.
func rawUpstream(b *testing.B, answer string) string {
	return script(b, func(_ int, c net.Conn) {
		br := bufio.NewReaderSize(c, 64<<10)
		for {
			length := 0
			for {
				line, err := br.ReadSlice('\n')
				if err != nil {
					return
				}
				if len(line) <= 2 {
					break
				}
				if name, value, _ := strings.Cut(string(line), ":"); strings.EqualFold(name, "content-length") {
					length, _ = strconv.Atoi(strings.TrimSpace(value))
				}
			}
			if _, err := br.Discard(length); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

const jsonAnswer = `{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"sim","choices":[{"index":0,"message":{"role":"assistant","content":"12 + 7 = 19. Is there anything else that I can help you with today? I am glad to help with any other sum, too."},"finish_reason":"stop"}],"usage":{"prompt_tokens":13,"completion_tokens":25,"total_tokens":38}}`

func wholeAnswer() string {
	return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_1\r\nOpenai-Processing-Ms: 12\r\nX-Ratelimit-Limit-Requests: 1000\r\nContent-Length: " + strconv.Itoa(len(jsonAnswer)) + "\r\n\r\n" + jsonAnswer
}

// drive sends requests over four connections, as raw bytes, so that the client's part of the CPU is small and the
// same for all.
func drive(b *testing.B, addr, body string) {
	b.Helper()
	request := "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer sk-client\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 2.1.0\r\nAccept: application/json\r\nAccept-Encoding: identity\r\nX-Stainless-Lang: python\r\nX-Stainless-Retry-Count: 0\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.SetParallelism(4)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		br := bufio.NewReaderSize(c, 64<<10)
		for pb.Next() {
			if _, err := io.WriteString(c, request); err != nil {
				b.Error(err)
				return
			}
			resp, err := http.ReadResponse(br, question)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				b.Error(resp.Status)
				return
			}
		}
	})
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N)/1000, "cpu-µs/op")
}

// BenchmarkProxy is one run over the same upstream: the upstream itself (what client and upstream cost, to be taken
// off the others), this gateway with the tap on, and httputil.ReverseProxy, which looks at nothing.
func BenchmarkProxy(b *testing.B) {
	up := rawUpstream(b, wholeAnswer())
	target, _ := url.Parse(up)
	body := `{"model":"sim","messages":[{"role":"user","content":"` + strings.Repeat("What is 12 + 7? ", 60) + `"}],"temperature":0}`
	b.Run("upstream", func(b *testing.B) { drive(b, target.Host, body) })
	b.Run("gateway", func(b *testing.B) {
		s := start(b, one(up), Options{Sink: func(x *Tapped) { x.Release() }})
		b.ReportAllocs()
		b.ResetTimer()
		drive(b, s.addr, body)
	})
	b.Run("reverseproxy", func(b *testing.B) {
		tr := &http.Transport{MaxIdleConnsPerHost: 512, DisableCompression: true}
		defer tr.CloseIdleConnections()
		rp := &httputil.ReverseProxy{Transport: tr, FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		srv := &http.Server{Handler: rp}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(ln) }()
		b.ReportAllocs()
		b.ResetTimer()
		drive(b, ln.Addr().String(), body)
		b.StopTimer()
		_ = srv.Shutdown(context.Background())
		<-done
	})
}
