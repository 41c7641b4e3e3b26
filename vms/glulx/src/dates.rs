//! The date: functions of the machine's own time, which is that of its ticks (Glk 0.7.6,
//! section 10). There is one time zone.

use crate::fault::Fault;
use crate::glk::Call;
use crate::world::World;

const DAY_S: i64 = 86_400;

/// Seconds and microseconds.
#[derive(Clone, Copy)]
struct Time {
    s: i64,
    micros: u32,
}

impl Time {
    fn of([high, low, micros]: [u32; 3]) -> Self {
        let s = (u64::from(high) << 32 | u64::from(low)).cast_signed();
        Self { s, micros }
    }

    fn words(self) -> [u32; 3] {
        let s = self.s.cast_unsigned();
        [(s >> 32) as u32, s as u32, self.micros]
    }

    fn simple(self, factor: u32) -> u32 {
        if factor == 0 { 0 } else { self.s.div_euclid(factor.into()) as u32 }
    }

    /// Year, month, day, day of the week, hour, minute, second, microsecond.
    fn date(self) -> [u32; 8] {
        let days = self.s.div_euclid(DAY_S);
        let second = self.s.rem_euclid(DAY_S) as u32;
        let (year, month, day) = civil(days);
        let weekday = (days + 4).rem_euclid(7) as u32;
        let time = [second / 3600, second / 60 % 60, second % 60, self.micros];
        [year as u32, month, day, weekday, time[0], time[1], time[2], time[3]]
    }

    /// Of a date whose parts may be out of their ranges.
    fn of_date(date: [u32; 8]) -> Self {
        let part = |nth: usize| i64::from(date[nth].cast_signed());
        let months = part(0) * 12 + part(1) - 1;
        let days = days_of(months.div_euclid(12), months.rem_euclid(12) + 1) + part(2) - 1;
        let micros = part(7);
        let s = days * DAY_S + part(4) * 3600 + part(5) * 60 + part(6);
        Self { s: s + micros.div_euclid(1_000_000), micros: micros.rem_euclid(1_000_000) as u32 }
    }
}

/// Days from 1970 to the first of a month: years begin in March, so leap days are at their end.
fn days_of(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let era = year.div_euclid(400);
    let in_era = year.rem_euclid(400);
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + (153 * month + 2) / 5 - 719_468
}

/// The date of a day since 1970.
fn civil(days: i64) -> (i64, u32, u32) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

impl World {
    fn time(&self) -> Time {
        let ns = u128::from(self.now) * u128::from(self.ns_per_tick);
        let s = i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX / 2);
        let epoch = i64::try_from(self.epoch_s).unwrap_or(0);
        Time { s: s.saturating_add(epoch), micros: (ns / 1000 % 1_000_000) as u32 }
    }

    pub(crate) fn date_function(&mut self, number: u32, call: &mut Call<'_>) -> Result<u32, Fault> {
        match number {
            0x160 => self.put_ref(call, 0, &self.time().words())?,
            0x161 => return Ok(self.time().simple(call.arg(0))),
            0x168 | 0x169 => {
                let time = Time::of(self.take_ref(call, 0)?);
                self.put_ref(call, 1, &time.date())?;
            }
            0x16a | 0x16b => {
                let time = i64::from(call.arg(0).cast_signed());
                let time = Time { s: time * i64::from(call.arg(1)), micros: 0 };
                self.put_ref(call, 2, &time.date())?;
            }
            0x16c | 0x16d => {
                let time = Time::of_date(self.take_ref(call, 0)?);
                self.put_ref(call, 1, &time.words())?;
            }
            0x16e | 0x16f => {
                let time = Time::of_date(self.take_ref(call, 0)?);
                return Ok(time.simple(call.arg(1)));
            }
            _ => {}
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_and_its_time_are_each_other() {
        for s in [0, -1, 951_782_400, 4_102_444_799, -62_135_596_800, 1_709_164_800] {
            let time = Time { s, micros: 5 };
            assert_eq!(Time::of_date(time.date()).words(), time.words(), "{s}");
        }
        let leap = Time { s: 951_782_400, micros: 0 };
        assert_eq!(leap.date(), [2000, 2, 29, 2, 0, 0, 0, 0]);
        assert_eq!(Time::of_date([2000, 14, 1, 0, 0, 0, 0, 0]).date()[..3], [2001, 2, 1]);
        // No date is out of reach of the arithmetic.
        let far = [u32::MAX / 2; 8];
        assert_eq!(Time::of([u32::MAX, 0, 0]).date()[0], 1833);
        let _ = Time::of_date(far).date();
        let _ = Time::of([i32::MAX.cast_unsigned(), u32::MAX, 0]).date();
    }
}
