package gateway

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/zstd"
)

// zstdMemory bounds what a frame may make the decoder allocate.
const zstdMemory = 8 << 20

// Decoded returns the answer without its content encoding, at most limit bytes of it; cut says that there is more, or
// that the encoding is not known or broken, so that what is returned is only what could be read. Identity answers are
// returned as they are, without a copy.
func (t *Tapped) Decoded(limit int) (body []byte, cut bool) {
	encoding := ""
	if v := t.AnswerHeader["Content-Encoding"]; len(v) > 0 {
		encoding = strings.ToLower(strings.TrimSpace(strings.Join(v, ",")))
	}
	if encoding == "" || encoding == "identity" {
		if len(t.Answer) > limit {
			return t.Answer[:limit], true
		}
		return t.Answer, t.AnswerCut
	}
	r, done := decoder(encoding, t.Answer)
	if r == nil {
		return nil, true
	}
	defer done()
	var b bytes.Buffer
	_, err := io.Copy(&b, io.LimitReader(r, int64(limit)+1))
	body = b.Bytes()
	if len(body) > limit {
		return body[:limit], true
	}
	return body, err != nil || t.AnswerCut
}

func decoder(encoding string, data []byte) (r io.Reader, done func()) {
	nothing := func() {}
	src := bytes.NewReader(data)
	switch encoding {
	case "gzip", "x-gzip":
		if z, err := gzip.NewReader(src); err == nil {
			return z, nothing
		}
	case "deflate":
		// Named for zlib's format, and sent without its header by some.
		if z, err := zlib.NewReader(src); err == nil {
			return z, nothing
		}
		return flate.NewReader(bytes.NewReader(data)), nothing
	case "br":
		return brotli.NewReader(src), nothing
	case "zstd":
		if z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(zstdMemory), zstd.WithDecoderMaxWindow(zstdMemory)); err == nil {
			return z, z.Close
		}
	}
	return nil, nil
}
