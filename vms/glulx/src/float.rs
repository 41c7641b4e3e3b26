//! Floats: the operations of section 2.12, on the host's binary32. Their results are the same on
//! every host: arithmetic is that of IEEE 754, functions are a library's, and NaN has one form.

/// What is not a number, as results have it.
const NAN: u32 = 0x7fc0_0000;

/// An operation, by its opcode; where `near` is compared with a tolerance, that is the operand.
pub(crate) fn single(opcode: u32, [a, b]: [u32; 2], near: [u32; 2]) -> u32 {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let truth = |holds: bool| u32::from(holds);
    let value = match opcode {
        0x190 => a.cast_signed() as f32,
        0x191 => return integer(x.into(), f64::trunc),
        0x192 => return integer(x.into(), f64::round),
        0x198 => x.ceil(),
        0x199 => x.floor(),
        0x1a0 => x + y,
        0x1a1 => x - y,
        0x1a2 => x * y,
        0x1a3 => x / y,
        0x1a4 => x % y,
        0x11a4 => return quotient(a, b),
        0x1a8 => x.sqrt(),
        0x1a9 => narrow(libm::exp(x.into())),
        0x1aa => narrow(libm::log(x.into())),
        0x1ab => narrow(libm::pow(x.into(), y.into())),
        0x1b0 => narrow(libm::sin(x.into())),
        0x1b1 => narrow(libm::cos(x.into())),
        0x1b2 => narrow(libm::tan(x.into())),
        0x1b3 => narrow(libm::asin(x.into())),
        0x1b4 => narrow(libm::acos(x.into())),
        0x1b5 => narrow(libm::atan(x.into())),
        0x1b6 => narrow(libm::atan2(x.into(), y.into())),
        0x1c0 => return truth(is_near(near.map(f32::from_bits), x)),
        0x1c2 => return truth(x < y),
        0x1c3 => return truth(x <= y),
        0x1c4 => return truth(x > y),
        0x1c5 => return truth(x >= y),
        0x1c8 => return truth(x.is_nan()),
        _ => return truth(x.is_infinite()),
    };
    bits(value)
}

/// A function is that of doubles, rounded: as near as a float can be.
fn narrow(value: f64) -> f32 {
    value as f32
}

fn bits(value: f32) -> u32 {
    if value.is_nan() { NAN } else { value.to_bits() }
}

/// The quotient that belongs to the remainder of `fmod`.
fn quotient(a: u32, b: u32) -> u32 {
    let (x, y) = (f32::from_bits(a), f32::from_bits(b));
    let value = bits((x - x % y) / y);
    // Where it is zero, its sign is that of the division.
    if value & 0x7fff_ffff == 0 { (a ^ b) & 0x8000_0000 } else { value }
}

/// An integer; what has none is the largest or the smallest, by its sign.
pub(crate) fn integer(value: f64, round: fn(f64) -> f64) -> u32 {
    let limit = if value.is_sign_negative() { i32::MIN } else { i32::MAX };
    let rounded = round(value);
    let fits = rounded >= f64::from(i32::MIN) && rounded <= f64::from(i32::MAX);
    let whole = if fits { rounded as i32 } else { limit };
    whole.cast_unsigned()
}

fn is_near([x, y]: [f32; 2], by: f32) -> bool {
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

    fn op(opcode: u32, x: f32, y: f32) -> u32 {
        single(opcode, [x.to_bits(), y.to_bits()], [0; 2])
    }

    #[test]
    fn what_is_no_number_or_too_large_is_an_integer_by_its_sign() {
        assert_eq!(op(0x191, f32::NAN, 0.0), 0x7fff_ffff);
        assert_eq!(op(0x191, f32::NEG_INFINITY, 0.0), 0x8000_0000);
        assert_eq!(op(0x191, -1.9, 0.0).cast_signed(), -1);
        assert_eq!(op(0x192, 2.5, 0.0), 3);
        assert_eq!(op(0x192, 3e9, 0.0), 0x7fff_ffff);
    }

    #[test]
    fn nan_has_one_form_and_a_zero_quotient_has_a_sign() {
        assert_eq!(op(0x1a3, 0.0, 0.0), NAN);
        assert_eq!(op(0x1a1, f32::INFINITY, f32::INFINITY), NAN);
        assert_eq!(op(0x11a4, 1.0, -2.0), 0x8000_0000);
        assert_eq!(op(0x11a4, 5.0, 2.0), 2.0f32.to_bits());
    }

    #[test]
    fn infinities_are_near_to_themselves_only() {
        let near = |x: f32, y: f32, by: f32| {
            single(0x1c0, [by.to_bits(), 0], [x.to_bits(), y.to_bits()]) == 1
        };
        assert!(near(f32::INFINITY, f32::INFINITY, 0.0));
        assert!(!near(f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY));
        assert!(near(1.0, 1.5, -0.5) && !near(1.0, 1.75, 0.5) && !near(1.0, 1.0, f32::NAN));
    }
}
