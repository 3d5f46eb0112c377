package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/klauspost/compress/s2"
)

// Item is a record to be published. The ID makes it idempotent for whoever stores it; the bus itself does not look
// at it.
type Item struct {
	ID   string
	Data []byte
}

// A frame is one message of the stream:
//
//	'T' 'F' version codec | records uint32 | raw bytes uint32 | CRC-32C uint32 | body
//
// in little endian. The body, compressed with S2 when that makes it smaller, is for each record the length of its id
// as uvarint, the id, the length of its data as uvarint, the data. The checksum covers the header before it and the
// body as it travels.
const (
	frameVersion = 1
	codecNone    = 0
	codecS2      = 1
	headerSize   = 16

	// maxFrameRaw bounds what a damaged or hostile header can make a reader allocate.
	maxFrameRaw = 64 << 20
)

// errFrame is wrapped by every error of decodeFrame.
var errFrame = errors.New("undecodable frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize is the space that a record takes in a frame's raw body.
func recordSize(id string, data []byte) int {
	return uvarintSize(len(id)) + len(id) + uvarintSize(len(data)) + len(data)
}

func uvarintSize(n int) int {
	size := 1
	for n >= 0x80 {
		n >>= 7
		size++
	}
	return size
}

func appendRecord(raw []byte, id string, data []byte) []byte {
	raw = binary.AppendUvarint(raw, uint64(len(id)))
	raw = append(raw, id...)
	raw = binary.AppendUvarint(raw, uint64(len(data)))
	return append(raw, data...)
}

// encodeFrame appends the frame of a raw body with so many records to dst, which it may grow.
func encodeFrame(dst, raw []byte, records int) []byte {
	need := headerSize + max(s2.MaxEncodedLen(len(raw)), len(raw))
	if cap(dst) < need {
		dst = make([]byte, 0, need)
	}
	dst = dst[:headerSize]
	body := s2.Encode(dst[headerSize:need], raw)
	codec := byte(codecS2)
	if len(body) >= len(raw) {
		codec = codecNone
		body = append(dst[headerSize:headerSize], raw...)
	}
	dst = dst[:headerSize+len(body)]
	copy(dst, []byte{'T', 'F', frameVersion, codec})
	binary.LittleEndian.PutUint32(dst[4:], uint32(records))
	binary.LittleEndian.PutUint32(dst[8:], uint32(len(raw)))
	binary.LittleEndian.PutUint32(dst[12:], frameSum(dst))
	return dst
}

// rawSize is what a frame says that its records take in memory; of what is no frame, what it takes itself.
func rawSize(frame []byte) int {
	if len(frame) < headerSize {
		return len(frame)
	}
	return max(len(frame), min(maxFrameRaw, int(binary.LittleEndian.Uint32(frame[8:]))))
}

func frameSum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:12], castagnoli), castagnoli, frame[headerSize:])
}

// decodeFrame calls yield for each record; id and data stay valid and belong to the caller, data shares one buffer
// with the frame's other records. Yield is only called once the whole frame has proved sound but for the lengths of
// its records.
func decodeFrame(frame []byte, yield func(index int, id string, data []byte)) error {
	if len(frame) < headerSize || frame[0] != 'T' || frame[1] != 'F' {
		return fmt.Errorf("%w: no frame header in %d bytes", errFrame, len(frame))
	}
	if frame[2] != frameVersion {
		return fmt.Errorf("%w: version %d, want %d", errFrame, frame[2], frameVersion)
	}
	if got, want := frameSum(frame), binary.LittleEndian.Uint32(frame[12:]); got != want {
		return fmt.Errorf("%w: checksum %08x, want %08x", errFrame, got, want)
	}
	records := int(binary.LittleEndian.Uint32(frame[4:]))
	size := int(binary.LittleEndian.Uint32(frame[8:]))
	if size > maxFrameRaw || records > size/2 {
		return fmt.Errorf("%w: %d records in %d bytes", errFrame, records, size)
	}
	raw := frame[headerSize:]
	switch frame[3] {
	case codecNone:
	case codecS2:
		if n, err := s2.DecodedLen(raw); err != nil || n != size {
			return fmt.Errorf("%w: S2 of %d bytes, want %d: %w", errFrame, n, size, errors.Join(err))
		}
		var err error
		if raw, err = s2.Decode(make([]byte, size), raw); err != nil {
			return fmt.Errorf("%w: %w", errFrame, err)
		}
	default:
		return fmt.Errorf("%w: codec %d", errFrame, frame[3])
	}
	if len(raw) != size {
		return fmt.Errorf("%w: %d bytes, want %d", errFrame, len(raw), size)
	}
	return eachRecord(raw, records, yield)
}

func eachRecord(raw []byte, records int, yield func(index int, id string, data []byte)) error {
	for i := range records {
		id, rest, ok := field(raw)
		if !ok {
			return fmt.Errorf("%w: record %d of %d has no id", errFrame, i, records)
		}
		data, rest, ok := field(rest)
		if !ok {
			return fmt.Errorf("%w: record %d of %d has no data", errFrame, i, records)
		}
		raw = rest
		yield(i, string(id), data)
	}
	if len(raw) > 0 {
		return fmt.Errorf("%w: %d bytes after the last record", errFrame, len(raw))
	}
	return nil
}

// field cuts a length and as many bytes off the front.
func field(b []byte) (value, rest []byte, ok bool) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, false
	}
	end := used + int(n)
	return b[used:end:end], b[end:], true
}
