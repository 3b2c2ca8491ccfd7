//! Axes: where a value stands between 0 and 1, which values are marked, and how they are spelt.

use terminal::units::{spell_nanos, spell_rate};

/// What an axis measures, and so how its values are spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Events a second, or a number of them: `412 k`.
    Rate,
    /// Nanoseconds: `18.4 us`.
    Nanos,
    /// A share of 1: `0.02 %`.
    Share,
    /// A multiple: `4.1 x`.
    Ratio,
}

impl Quantity {
    /// The value for people.
    pub fn spell(self, value: f64) -> String {
        match self {
            Self::Rate => spell_rate(value),
            Self::Nanos => spell_nanos(value.max(0.0).round() as u64),
            Self::Share => format!("{} %", short(value * 100.0)),
            Self::Ratio => format!("{} x", short(value)),
        }
    }

    /// A mark's value: as [`Quantity::spell`], without digits that a round number does not need.
    fn spell_mark(self, value: f64) -> String {
        let text = self.spell(value);
        let Some((number, unit)) = text.split_once(' ') else {
            return text;
        };
        match number.contains('.') {
            true => {
                let number = number.trim_end_matches('0').trim_end_matches('.');
                format!("{number} {unit}")
            }
            false => text,
        }
    }
}

/// Two or three significant digits, no exponent, no zeros at the end.
fn short(value: f64) -> String {
    let size = value.abs();
    let places = match size {
        _ if size >= 99.5 || size == 0.0 => 0,
        _ if size >= 9.95 => 1,
        _ if size >= 0.995 => 2,
        // One digit more than the zeros behind the point; at most nine places.
        _ => (1.0 - size.log10().floor()).clamp(2.0, 9.0) as usize,
    };
    let text = format!("{value:.places$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// How values are spread over an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from 0.
    Linear,
    /// By their logarithm. Zero stands at the lower end, marked so.
    Log,
}

/// An axis that its values fit on.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    quantity: Quantity,
    scale: Scale,
    low: f64,
    high: f64,
    /// On a logarithmic axis: below `low`, where zero stands.
    zero: bool,
}

/// How much of a logarithmic axis lies between zero and the smallest value.
const ZERO_SHARE: f64 = 0.08;

impl Axis {
    /// An axis from 0 to a round number that no value exceeds.
    pub(super) fn linear(quantity: Quantity, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let high = if most > 0.0 { most } else { 1.0 };
        let step = step_of(high);
        Self {
            quantity,
            scale: Scale::Linear,
            low: 0.0,
            high: (high / step).ceil() * step,
            zero: false,
        }
    }

    /// A logarithmic axis between powers of ten (or their 2nd and 5th parts) around the values, with a
    /// place for zero when there is one.
    pub(super) fn log(quantity: Quantity, values: impl Iterator<Item = f64>) -> Self {
        let (mut low, mut high, mut zero) = (f64::INFINITY, 0.0_f64, false);
        for value in values.filter(|value| value.is_finite()) {
            if value > 0.0 {
                (low, high) = (low.min(value), high.max(value));
            } else {
                zero = true;
            }
        }
        if high <= 0.0 {
            (low, high) = match quantity {
                Quantity::Share => (1e-6, 1e-2),
                _ => (1.0, 10.0),
            };
        }
        let (low, high) = match high / low > 1e3 {
            true => (power_below(low), power_below(high * 9.999)),
            false => (round_down(low), round_up(high)),
        };
        let high = if high > low { high } else { low * 10.0 };
        Self {
            quantity,
            scale: Scale::Log,
            low,
            high,
            zero,
        }
    }

    pub(super) fn new(scale: Scale, quantity: Quantity, values: impl Iterator<Item = f64>) -> Self {
        match scale {
            Scale::Linear => Self::linear(quantity, values),
            Scale::Log => Self::log(quantity, values),
        }
    }

    /// Where the value stands, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        let at = match self.scale {
            Scale::Linear => value / self.high,
            Scale::Log if value <= 0.0 => return 0.0,
            Scale::Log => {
                let share = (value / self.low).ln() / (self.high / self.low).ln();
                let start = if self.zero { ZERO_SHARE } else { 0.0 };
                start + share * (1.0 - start)
            }
        };
        if at.is_finite() {
            at.clamp(0.0, 1.0)
        } else {
            0.0
        }
    }

    /// The values that are marked, with their places and how they are spelt.
    pub(super) fn marks(&self) -> Vec<(f64, String)> {
        let mut values = match self.scale {
            Scale::Linear => {
                let step = step_of(self.high);
                let count = (self.high / step).round().min(20.0) as usize;
                (0..=count).map(|index| index as f64 * step).collect()
            }
            Scale::Log => self.decades(),
        };
        if self.zero {
            values.insert(0, 0.0);
        }
        values
            .into_iter()
            .map(|value| {
                let text = match value {
                    0.0 => "0".to_owned(),
                    _ => self.quantity.spell_mark(value),
                };
                (self.place(value), text)
            })
            .collect()
    }

    /// Powers of ten, with 2 and 5 of each when there are few, and every other when there are many.
    fn decades(&self) -> Vec<f64> {
        let (first, last) = (
            self.low.log10().floor() as i32,
            self.high.log10().ceil() as i32,
        );
        let span = last - first;
        let wide = self.high / self.low > 1.001e3;
        let parts: &[f64] = if wide { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let stride = if span > 8 { 2 } else { 1 };
        let mut found = Vec::new();
        for exponent in (first..=last).step_by(stride) {
            for part in parts {
                let value = part * 10_f64.powi(exponent);
                if value >= self.low * 0.999 && value <= self.high * 1.001 {
                    found.push(value);
                }
            }
        }
        found
    }
}

/// A round step, of which three to seven make `high`.
fn step_of(high: f64) -> f64 {
    let rough = high / 7.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = match rough / power {
        part if part <= 1.0 => 1.0,
        part if part <= 2.0 => 2.0,
        part if part <= 5.0 => 5.0,
        _ => 10.0,
    };
    step * power
}

/// The power of ten that is not above the value.
fn power_below(value: f64) -> f64 {
    10_f64.powf((value.log10() + 1e-9).floor())
}

fn round_down(value: f64) -> f64 {
    let power = power_below(value);
    let parts = [5.0, 2.0, 1.0].into_iter();
    let found = parts
        .map(|part| part * power)
        .find(|part| *part <= value * 1.000_001);
    found.unwrap_or(power)
}

fn round_up(value: f64) -> f64 {
    let power = power_below(value);
    let parts = [1.0, 2.0, 5.0, 10.0].into_iter();
    let found = parts
        .map(|part| part * power)
        .find(|part| *part >= value * 0.999_999);
    found.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(axis: &Axis) -> Vec<String> {
        axis.marks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn linear_axes_end_at_round_numbers() {
        let axis = Axis::linear(Quantity::Rate, [3.0, 470_000.0].into_iter());
        assert_eq!(
            marks(&axis),
            ["0", "100 k", "200 k", "300 k", "400 k", "500 k"]
        );
        assert_eq!(axis.place(250_000.0), 0.5);
        assert_eq!(axis.place(f64::NAN), 0.0);
    }

    #[test]
    fn logarithmic_axes_have_a_place_for_zero_when_it_occurs() {
        let axis = Axis::log(Quantity::Share, [0.0, 0.000_6, 0.4].into_iter());
        assert_eq!(axis.place(0.0), 0.0);
        assert_eq!(axis.place(0.000_5), ZERO_SHARE);
        assert_eq!(axis.place(0.5), 1.0);
        let some = ["0", "0.05 %", "0.1 %", "0.2 %", "0.5 %", "1 %"];
        assert_eq!(marks(&axis)[..6], some);
        let wide = Axis::log(Quantity::Share, [0.000_3, 0.4].into_iter());
        assert_eq!(marks(&wide), ["0.01 %", "0.1 %", "1 %", "10 %", "100 %"]);
        let axis = Axis::log(Quantity::Nanos, [12_000.0, 70_000.0].into_iter());
        assert_eq!(marks(&axis), ["10 us", "20 us", "50 us", "100 us"]);
        assert_eq!(axis.place(10_000.0), 0.0);
    }

    #[test]
    fn axes_of_nothing_and_of_one_value_can_be_drawn() {
        for values in [vec![], vec![0.0], vec![7.0], vec![f64::NAN, f64::INFINITY]] {
            for scale in [Scale::Linear, Scale::Log] {
                let axis = Axis::new(scale, Quantity::Rate, values.iter().copied());
                let places: Vec<_> = axis.marks().into_iter().map(|(at, _)| at).collect();
                assert!(places.len() >= 2, "{scale:?} {values:?}");
                assert!(places.iter().all(|at| (0.0..=1.0).contains(at)));
            }
        }
    }

    #[test]
    fn values_are_spelt_short() {
        assert_eq!(Quantity::Share.spell(0.000_002_3), "0.00023 %");
        assert_eq!(Quantity::Share.spell(0.25), "25 %");
        assert_eq!(Quantity::Ratio.spell(4.126), "4.13 x");
        assert_eq!(Quantity::Rate.spell(412_345.0), "412 k");
    }
}
