package wiretap

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

// decode undoes a Content-Encoding. What does not decode to its end, or to more than limit bytes, is returned as far as it
// goes, as cut.
func decode(encoding string, body []byte, cut bool, limit int) (out []byte, wasCut bool) {
	in, ok := decoder(encoding, bytes.NewReader(body))
	if !ok {
		return nil, true
	}
	if in == nil {
		return body, cut
	}
	var buf bytes.Buffer
	_, err := io.Copy(&buf, io.LimitReader(in, int64(limit)+1))
	out = buf.Bytes()
	if len(out) > limit {
		return out[:limit], true
	}
	return out, cut || err != nil
}

// byteReader is what a decoder reads: byte by byte, so that it takes no more than it needs.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// decoder returns a reader of the decoded bytes, nil for none needed; ok is false for an encoding that is not known or a
// body that is not of it.
func decoder(encoding string, in byteReader) (out io.Reader, ok bool) {
	switch strings.ToLower(strings.TrimSpace(encoding)) {
	case "", "identity":
		return nil, true
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, false
		}
		return z, true
	case "deflate":
		// Meant to be zlib's format; some servers send the bare one.
		first, err := in.ReadByte()
		if err != nil {
			return nil, false
		}
		again := &pushedBack{byteReader: in, b: first, has: true}
		if first&0x0f != 8 {
			return flate.NewReader(again), true
		}
		z, err := zlib.NewReader(again)
		if err != nil {
			return nil, false
		}
		return z, true
	case "br":
		return brotli.NewReader(in), true
	case "zstd":
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(16<<20), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, false
		}
		return z.IOReadCloser(), true
	}
	return nil, false
}

// pushedBack is a reader whose first byte has been looked at.
type pushedBack struct {
	byteReader
	b   byte
	has bool
}

func (p *pushedBack) ReadByte() (byte, error) {
	if p.has {
		p.has = false
		return p.b, nil
	}
	return p.byteReader.ReadByte()
}

func (p *pushedBack) Read(b []byte) (int, error) {
	if p.has && len(b) > 0 {
		p.has = false
		b[0] = p.b
		return 1, nil
	}
	return p.byteReader.Read(b)
}
