package dataset

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// parquetValue returns what turns the values of a column into what JSON holds. Times, dates, decimals
// and UUIDs become text; bytes that are not text become base64.
func parquetValue(t parquet.Type) func(parquet.Value) (any, error) {
	kind := t.Kind()
	switch l := logical(t).(type) {
	case *format.DecimalType:
		return func(v parquet.Value) (any, error) { return decimal(unscaled(v), l.Scale) }
	case *format.DateType:
		return func(v parquet.Value) (any, error) {
			return time.Unix(int64(v.Int32())*24*3600, 0).UTC().Format(time.DateOnly), nil
		}
	case *format.TimestampType:
		unit := unitOf(l.Unit)
		return func(v parquet.Value) (any, error) { return timestamp(v.Int64(), unit, l.IsAdjustedToUTC), nil }
	case *format.TimeType:
		unit := unitOf(l.Unit)
		return func(v parquet.Value) (any, error) {
			n := v.Int64()
			if kind == parquet.Int32 {
				n = int64(v.Int32())
			}
			return clock(n, unit), nil
		}
	case *format.UUIDType:
		return func(v parquet.Value) (any, error) {
			b := v.ByteArray()
			if len(b) != 16 {
				return nil, fmt.Errorf("a UUID of %d bytes", len(b))
			}
			return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
		}
	case *format.StringType, *format.EnumType, *format.JsonType:
		return func(v parquet.Value) (any, error) {
			s := string(v.ByteArray())
			if !utf8.ValidString(s) {
				return nil, errors.New("bytes that are not UTF-8")
			}
			return s, nil
		}
	case *format.IntType:
		if !l.IsSigned {
			return func(v parquet.Value) (any, error) {
				if kind == parquet.Int32 {
					return int64(uint32(v.Int32())), nil
				}
				return unsigned(uint64(v.Int64())), nil
			}
		}
	case *format.NullType:
		return func(parquet.Value) (any, error) { return nil, nil }
	}
	switch kind {
	case parquet.Boolean:
		return func(v parquet.Value) (any, error) { return v.Boolean(), nil }
	case parquet.Int32:
		return func(v parquet.Value) (any, error) { return int64(v.Int32()), nil }
	case parquet.Int64:
		return func(v parquet.Value) (any, error) { return v.Int64(), nil }
	case parquet.Int96:
		return func(v parquet.Value) (any, error) {
			n := v.Int96()
			const unixEpoch = 2440588 // its Julian day
			nanos := int64(uint64(n[1])<<32 | uint64(n[0]))
			return time.Unix((int64(n[2])-unixEpoch)*24*3600, nanos).UTC().Format(time.RFC3339Nano), nil
		}
	case parquet.Float:
		return func(v parquet.Value) (any, error) { return float(float64(v.Float())) }
	case parquet.Double:
		return func(v parquet.Value) (any, error) { return float(v.Double()) }
	}
	return func(v parquet.Value) (any, error) { return bytesOrText(v.ByteArray()), nil }
}

// bytesOrText reads bytes of which the schema does not say what they are: many writers do not
// mark text as such.
func bytesOrText(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return base64.StdEncoding.EncodeToString(b)
}

// float turns NaN, which pandas writes for a missing number, into null.
func float(f float64) (any, error) {
	switch {
	case math.IsNaN(f):
		return nil, nil
	case math.IsInf(f, 0):
		return nil, errors.New("an infinite number")
	}
	return f, nil
}

func unsigned(n uint64) any {
	if n <= math.MaxInt64 {
		return int64(n)
	}
	return n
}

func unitOf(u format.TimeUnit) time.Duration {
	switch u.Value.(type) {
	case *format.MicroSeconds:
		return time.Microsecond
	case *format.NanoSeconds:
		return time.Nanosecond
	}
	return time.Millisecond
}

// timestamp writes a time that is n units after 1970 in RFC 3339, without a zone when it has none.
func timestamp(n int64, unit time.Duration, zoned bool) string {
	perSecond := int64(time.Second / unit)
	sec, rest := n/perSecond, n%perSecond
	if rest < 0 {
		sec, rest = sec-1, rest+perSecond
	}
	t := time.Unix(sec, rest*int64(unit)).UTC()
	if zoned {
		return t.Format(time.RFC3339Nano)
	}
	return t.Format("2006-01-02T15:04:05.999999999")
}

// clock writes a time of day.
func clock(n int64, unit time.Duration) string {
	return time.Unix(0, n*int64(unit)).UTC().Format("15:04:05.999999999")
}

func unscaled(v parquet.Value) *big.Int {
	switch v.Kind() {
	case parquet.Int32:
		return big.NewInt(int64(v.Int32()))
	case parquet.Int64:
		return big.NewInt(v.Int64())
	}
	b := v.ByteArray() // big-endian two's complement
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return n
}

// decimal writes n × 10^-scale with all its digits.
func decimal(n *big.Int, scale int32) (any, error) {
	if scale < 0 || scale > 1000 {
		return nil, fmt.Errorf("a decimal of scale %d", scale)
	}
	if scale == 0 {
		return n.String(), nil
	}
	sign, digits := "", n.String()
	if n.Sign() < 0 {
		sign, digits = "-", digits[1:]
	}
	if pad := int(scale) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	point := len(digits) - int(scale)
	return sign + digits[:point] + "." + digits[point:], nil
}
