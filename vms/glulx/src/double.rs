//! Doubles: the operations of section 2.13, on the host's binary64, as `float` has those of
//! floats.

use crate::float::integer;

/// What is not a number, as results have it.
const NAN: u64 = 0x7ff8_0000_0000_0000;

/// An operation, by its opcode; where `near` is compared with a tolerance, that is the operand.
pub(crate) fn double(opcode: u32, [a, b]: [u64; 2], near: [u64; 2]) -> u64 {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    let truth = |holds: bool| u64::from(holds);
    let low = a as u32;
    let value = match opcode {
        0x200 => f64::from(low.cast_signed()),
        0x201 => return integer(x, f64::trunc).into(),
        0x202 => return integer(x, f64::round).into(),
        0x203 => f64::from(f32::from_bits(low)),
        0x204 => {
            let single = x as f32;
            return if single.is_nan() { 0x7fc0_0000 } else { single.to_bits().into() };
        }
        0x208 => x.ceil(),
        0x209 => x.floor(),
        0x210 => x + y,
        0x211 => x - y,
        0x212 => x * y,
        0x213 => x / y,
        0x214 => x % y,
        0x215 => return quotient(a, b),
        0x218 => x.sqrt(),
        0x219 => libm::exp(x),
        0x21a => libm::log(x),
        0x21b => libm::pow(x, y),
        0x220 => libm::sin(x),
        0x221 => libm::cos(x),
        0x222 => libm::tan(x),
        0x223 => libm::asin(x),
        0x224 => libm::acos(x),
        0x225 => libm::atan(x),
        0x226 => libm::atan2(x, y),
        0x230 => return truth(is_near(near.map(f64::from_bits), x)),
        0x232 => return truth(x < y),
        0x233 => return truth(x <= y),
        0x234 => return truth(x > y),
        0x235 => return truth(x >= y),
        0x238 => return truth(x.is_nan()),
        _ => return truth(x.is_infinite()),
    };
    bits(value)
}

fn bits(value: f64) -> u64 {
    if value.is_nan() { NAN } else { value.to_bits() }
}

fn quotient(a: u64, b: u64) -> u64 {
    let (x, y) = (f64::from_bits(a), f64::from_bits(b));
    let value = bits((x - x % y) / y);
    if value << 1 == 0 { (a ^ b) & 1 << 63 } else { value }
}

fn is_near([x, y]: [f64; 2], by: f64) -> bool {
    if by.is_nan() {
        return false;
    }
    if x.is_infinite() && y.is_infinite() {
        return x.to_bits() == y.to_bits();
    }
    let (apart, by) = (y - x, by.abs());
    apart <= by && apart >= -by
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_become_floats_and_integers_and_back() {
        let bits = |value: f64| value.to_bits();
        assert_eq!(double(0x200, [0xffff_ffff, 0], [0; 2]), bits(-1.0));
        assert_eq!(double(0x204, [bits(0.5), 0], [0; 2]), u64::from(0.5f32.to_bits()));
        assert_eq!(double(0x203, [u64::from(1.5f32.to_bits()), 0], [0; 2]), bits(1.5));
        assert_eq!(double(0x213, [bits(0.0), bits(0.0)], [0; 2]), NAN);
        assert_eq!(double(0x215, [bits(1.0), bits(-2.0)], [0; 2]), 1 << 63);
        assert_eq!(double(0x230, [bits(0.5), 0], [bits(1.0), bits(1.5)]), 1);
    }
}
