package bill

import (
	"bytes"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"
)

// scale is the number of digits of an amount after the decimal point. AWS writes eleven. Further digits are rounded,
// half away from zero, as databases do.
const scale = 12

// maxExponent bounds numbers such as 1e999999999, which would need all memory when written out.
const maxExponent = 100

// limit is the first amount that does not fit, as in a DECIMAL(38, 12).
var limit = decimal.New(1, 38-scale)

// amount is a number of units of 10⁻¹², in two's complement.
type amount struct {
	high int64
	low  uint64
}

func (a *amount) add(b amount) {
	var carry uint64
	a.low, carry = bits.Add64(a.low, b.low, 0)
	a.high += b.high + int64(carry)
}

func (a amount) negative() amount {
	low, borrow := bits.Sub64(0, a.low, 0)
	return amount{-a.high - int64(borrow), low}
}

func (a amount) decimal() decimal.Decimal {
	n := big.NewInt(a.high)
	n.Lsh(n, 64).Add(n, new(big.Int).SetUint64(a.low))
	return decimal.NewFromBigInt(n, -scale)
}

func fromBig(n *big.Int) amount {
	low := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0)))
	return amount{new(big.Int).Rsh(n, 64).Int64(), low.Uint64()}
}

var powers = func() (all [scale + 1]uint64) {
	all[0] = 1
	for i := range scale {
		all[i+1] = 10 * all[i]
	}
	return all
}()

// parseAmount reads a decimal number. Nearly all numbers have at most 18 digits, at most twelve of them after the
// point, and no exponent. These need only integer arithmetic.
func parseAmount(text []byte) (amount, bool) {
	text = bytes.TrimSpace(text)
	rest := text
	minus := false
	if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
		minus = rest[0] == '-'
		rest = rest[1:]
	}
	var value uint64
	digits, point := 0, -1
	for i, c := range rest {
		switch {
		case c >= '0' && c <= '9':
			value = 10*value + uint64(c-'0')
			digits++
		case c == '.' && point < 0:
			point = i
		default:
			return parseLong(text)
		}
	}
	fraction := 0
	if point >= 0 {
		fraction = len(rest) - point - 1
	}
	if digits == 0 {
		return amount{}, false
	}
	if digits > 18 || fraction > scale {
		return parseLong(text)
	}
	high, low := bits.Mul64(value, powers[scale-fraction])
	a := amount{int64(high), low}
	if minus {
		a = a.negative()
	}
	return a, true
}

// parseLong reads numbers with more digits, or with an exponent.
func parseLong(text []byte) (amount, bool) {
	if len(text) > maxExponent {
		return amount{}, false
	}
	exponent := 0
	for i, c := range text {
		switch {
		case c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+':
		case c == 'e' || c == 'E':
			for _, d := range text[i+1:] {
				if d >= '0' && d <= '9' {
					exponent = min(10*exponent+int(d-'0'), 10*maxExponent)
				}
			}
		default:
			return amount{}, false
		}
	}
	if exponent > maxExponent {
		return amount{}, false
	}
	d, err := decimal.NewFromString(string(text))
	if err != nil || d.Abs().GreaterThanOrEqual(limit) {
		return amount{}, false
	}
	return fromBig(d.Round(scale).Shift(scale).BigInt()), true
}
