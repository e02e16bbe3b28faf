//! Which bucket a value belongs to: integers only, exact for every u64.
//!
//! The bounds of the buckets, `2^(k/16)` seconds, have the same sixteen mantissas in every octave of nanoseconds. So a
//! value is shifted until its highest bit is the top one, its next six bits tell between which two mantissas it lies
//! but for one, and one comparison with that one decides. No logarithm, no rounding, no unit conversion.

/// Buckets per octave are `2^SCALE`: the scale of an OTLP `ExponentialHistogram`, the schema of a Prometheus native
/// histogram.
pub const SCALE: i32 = 4;

/// Buckets per octave.
pub(super) const OCTAVE: usize = 1 << SCALE;

/// Index of the bucket at position 0: `(2^-30, 2^(-30+1/16)]` seconds, which lies below one nanosecond.
const FIRST_INDEX: i32 = -480;

/// Position of the last bucket, that of `u64::MAX` nanoseconds.
pub(super) const LAST_POSITION: usize = 1025;

/// `floor(2^63 * m)` of the mantissas m of `10^9 * 2^(j/16)`, ascending. The one of `2^0` is exact: `5^9 / 2^20`.
pub(super) const MANTISSAS: [u64; OCTAVE] = [
    0x81ff_a7a9_549c_a6e3,
    0x87c1_1235_836d_16a3,
    0x8dc3_b896_0164_a7d9,
    0x940a_7e28_259f_b382,
    0x9a98_6705_4d51_2391,
    0xa170_9975_dfb0_6757,
    0xa896_5f74_bf06_5071,
    0xb00d_2843_e106_0dc2,
    0xb7d8_8a12_d0dd_9ea0,
    0xbffc_43b7_e604_a922,
    0xc87c_3e7d_03cd_bec3,
    0xd15c_9000_bf21_1c1f,
    0xdaa1_7c2c_d195_55db,
    0xe44f_7742_cb56_e3dd,
    0xee6b_2800_0000_0000,
    0xf8f9_69d9_b5ab_f948,
];

/// Bits below the highest one that choose a cell. Cells are narrower than a bucket, so at most one bound lies in each.
const CELL_BITS: u32 = 6;
const CELLS: usize = 1 << CELL_BITS;

/// A stretch of mantissas.
#[derive(Clone, Copy)]
struct Cell {
    /// The first bound that is not below the cell; of the last cell none, hence `u64::MAX`.
    bound: u64,
    /// How many bounds lie below the cell.
    below: u64,
}

static CELLS_OF_OCTAVE: [Cell; CELLS] = cells();

const fn cells() -> [Cell; CELLS] {
    let mut cells = [Cell {
        bound: u64::MAX,
        below: 0,
    }; CELLS];
    let mut cell = 0;
    let mut below = 0;
    let mut start = 1 << 63;
    while cell < CELLS {
        while below < OCTAVE && MANTISSAS[below] < start {
            below += 1;
        }
        cells[cell].below = below as u64;
        if below < OCTAVE {
            cells[cell].bound = MANTISSAS[below];
        }
        start = start.wrapping_add(1 << (63 - CELL_BITS));
        cell += 1;
    }
    cells
}

/// Position of the bucket of `ns`, from 1 to [`LAST_POSITION`]; 0 for 0 ns, which has no bucket.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "at most 1025")]
pub(super) fn position(ns: u64) -> usize {
    if ns == 0 {
        return 0;
    }
    let zeros = ns.leading_zeros();
    let mantissa = ns << zeros;
    let cell = CELLS_OF_OCTAVE[(mantissa >> (63 - CELL_BITS)) as usize & (CELLS - 1)];
    let octave = u64::from(63 - zeros) << SCALE;
    (octave + cell.below + u64::from(mantissa > cell.bound) + 1) as usize
}

/// Index of the bucket at a position.
#[inline]
pub(super) fn index_at(position: usize) -> i32 {
    i32::try_from(position).map_or(i32::MAX, |position| position + FIRST_INDEX)
}

/// How many positions lie at or below `2^exponent` seconds.
pub(super) fn positions_within(exponent: i32) -> usize {
    let octaves = i64::from(exponent) + 30;
    usize::try_from(octaves.saturating_mul(1 << SCALE)).unwrap_or(0)
}

/// Index of the bucket of `ns`: bucket `i` covers `(2^(i/16), 2^((i+1)/16)]` seconds. `None` for 0 ns, which goes to
/// the zero bucket. From -479 (1 ns) to 545 (`u64::MAX` ns, 584 years).
#[inline]
#[must_use]
pub fn index_of(ns: u64) -> Option<i32> {
    (ns != 0).then(|| index_at(position(ns)))
}

/// The greatest whole nanosecond in bucket `index` or below: `2^((index+1)/16)` seconds, rounded down; 0 and
/// `u64::MAX` where that is out of range.
#[must_use]
pub fn upper_bound_ns(index: i32) -> u64 {
    // Bound 0 of octave 0, that of 1 ns, belongs to index -479.
    let bound = i64::from(index) + 479;
    let mantissa = MANTISSAS[usize::try_from(bound.rem_euclid(1 << SCALE)).expect("below 16")];
    match u32::try_from(bound.div_euclid(1 << SCALE)) {
        Ok(octave @ 0..=63) => mantissa >> (63 - octave),
        Ok(_) => u64::MAX,
        Err(_) if bound < 0 => 0,
        Err(_) => u64::MAX,
    }
}

/// The middle of bucket `index` by ratio, which is within 2.2 % of everything in it.
#[expect(
    clippy::cast_possible_truncation,
    reason = "`as` saturates here, as it should"
)]
pub(super) fn middle_ns(index: i32) -> u64 {
    let seconds = ((f64::from(index) + 0.5) / OCTAVE as f64).exp2();
    (seconds * 1e9).round() as u64
}

/// The smallest `e` such that `ns` is at most `2^e` seconds: the `le` bucket of a classic histogram. `None` for 0 ns.
#[must_use]
pub fn le_exponent(ns: u64) -> Option<i32> {
    index_of(ns).map(|index| index.div_euclid(1 << SCALE) + 1)
}
