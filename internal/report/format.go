package report

import (
	"math"
	"strconv"
	"strings"
)

// noData stands for a number that there is none of.
const noData = "no data"

func finite(x *float64) bool {
	return x != nil && !math.IsNaN(*x) && !math.IsInf(*x, 0)
}

// count writes n with commas.
func count(n int) string {
	return commas(strconv.Itoa(n))
}

// commas groups the digits before the point by three.
func commas(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac, found := strings.Cut(s, ".")
	var b strings.Builder
	for i, c := range whole {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	if found {
		b.WriteByte('.')
		b.WriteString(frac)
	}
	return sign + b.String()
}

// percent writes a share with two decimals. What is not quite all or not quite nothing is never
// rounded to it.
func percent(x float64) string {
	s := strconv.FormatFloat(100*x, 'f', 2, 64)
	switch {
	case x < 1 && s == "100.00":
		return ">99.99%"
	case x > 0 && s == "0.00":
		return "<0.01%"
	}
	return s + "%"
}

// number writes x with four significant digits, whole numbers in full.
func number(x float64) string {
	a := math.Abs(x)
	switch {
	case x == math.Trunc(x) && a < 1e15, a >= 1e4 && a < 1e15:
		return commas(strconv.FormatFloat(x, 'f', 0, 64))
	case a >= 1e15 || a < 1e-6:
		return strconv.FormatFloat(x, 'e', 3, 64)
	}
	decimals := 3 - int(math.Floor(math.Log10(a)))
	return commas(strconv.FormatFloat(x, 'f', max(decimals, 0), 64))
}

// seconds writes a time span in the unit a reader would choose.
func seconds(x float64) string {
	a := math.Abs(x)
	switch {
	case a == 0:
		return "0 s"
	case a < 0.001:
		return strconv.FormatFloat(1e3*x, 'g', 2, 64) + " ms"
	case a < 0.01:
		return strconv.FormatFloat(1e3*x, 'f', 1, 64) + " ms"
	case a < 0.9995:
		return strconv.FormatFloat(1e3*x, 'f', 0, 64) + " ms"
	case a < 10:
		return strconv.FormatFloat(x, 'f', 2, 64) + " s"
	case a < 59.95:
		return strconv.FormatFloat(x, 'f', 1, 64) + " s"
	}
	s := int(math.Round(a))
	sign := ""
	if x < 0 {
		sign = "-"
	}
	if s < 3600 {
		return sign + strconv.Itoa(s/60) + " min " + pad2(s%60) + " s"
	}
	return sign + count(s/3600) + " h " + pad2(s/60%60) + " min"
}

func pad2(n int) string {
	if n < 10 {
		return "0" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

// dollars writes a sum with cents, or with two significant digits below a cent.
func dollars(x float64) string {
	a := math.Abs(x)
	switch {
	case a == 0:
		return "$0"
	case a < 1e-9:
		return "$" + strconv.FormatFloat(x, 'e', 1, 64)
	case a < 0.1:
		decimals := 1 - int(math.Floor(math.Log10(a)))
		return "$" + strconv.FormatFloat(x, 'f', max(decimals, 2), 64)
	}
	return "$" + commas(strconv.FormatFloat(x, 'f', 2, 64))
}

// quantity writes x in its unit; share means that x is a part of 1.
func quantity(x *float64, unit string, share bool) string {
	if !finite(x) {
		return noData
	}
	switch {
	case share:
		return percent(*x)
	case unit == "s":
		return seconds(*x)
	case unit == "usd":
		return dollars(*x)
	case unit != "":
		return number(*x) + " " + unit
	}
	return number(*x)
}

// interval writes low–high, with a shared unit once.
func interval(low, high *float64, unit string, share bool) string {
	if !finite(low) || !finite(high) {
		return ""
	}
	l, h := quantity(low, unit, share), quantity(high, unit, share)
	switch {
	case share:
		return strings.TrimSuffix(l, "%") + "–" + h
	case unit == "s" || unit == "usd":
		if i := strings.LastIndexByte(l, ' '); i > 0 && strings.Count(l, " ") == 1 && strings.HasSuffix(h, l[i:]) && strings.Count(h, " ") == 1 {
			l = l[:i]
		}
	case unit != "":
		l = strings.TrimSuffix(l, " "+unit)
	}
	return l + "–" + h
}
