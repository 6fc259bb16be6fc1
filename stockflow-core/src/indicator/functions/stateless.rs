//! Functions that are computed over all rows again and again, each with the reason why it keeps no state.
//!
//! A test over the whole catalogue makes sure that a function is here exactly if it is neither among our units nor one
//! that can see its last rows only.

const AVERAGES: &str = "its averages depend on all rows before, and TA-Lib does not hand them out";
const FEEDBACK: &str = "its filters feed on their own past values, which TA-Lib does not hand out";
const HILBERT: &str =
    "the filters of its Hilbert transform feed on their own past values, which TA-Lib does not hand out";
const PIVOTS: &str = "a new row may still move the last turning point, and TA-Lib does not hand out its search";
const SUMS: &str = "it subtracts running sums that differ in rounding wherever they begin";

/// Name and reason, which follows "because", in alphabetical order.
pub(crate) static HISTORY: &[(&str, &str)] = &[
    ("cksp", AVERAGES),
    ("crsi", AVERAGES),
    ("dosc", AVERAGES),
    ("fisher", FEEDBACK),
    ("frama", FEEDBACK),
    ("ht_dcperiod", HILBERT),
    ("ht_dcphase", HILBERT),
    ("ht_phasor", HILBERT),
    ("ht_sine", HILBERT),
    ("ht_trendline", HILBERT),
    ("ht_trendmode", HILBERT),
    ("kstext", AVERAGES),
    ("kvo", AVERAGES),
    ("mama", HILBERT),
    ("mavp", AVERAGES),
    ("rvir", AVERAGES),
    ("sqzmom", SUMS),
    ("stc", AVERAGES),
    ("swak_2php", FEEDBACK),
    ("swak_bp", FEEDBACK),
    ("swak_butter", FEEDBACK),
    ("swak_gauss", FEEDBACK),
    ("swak_hp", FEEDBACK),
    ("vidya", AVERAGES),
    ("wavetrend", AVERAGES),
    ("zigzag", PIVOTS),
];

/// Why this function keeps no state.
pub(crate) fn reason(name: &str) -> &'static str {
    let at = HISTORY.binary_search_by(|(it, _)| it.cmp(&name));
    at.ok().and_then(|at| HISTORY.get(at)).map_or("TA-Lib keeps no state that can be saved", |(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::super::super::catalogue::catalogue;
    use super::super::{UNITS, window::WINDOWED};
    use super::HISTORY;

    #[test]
    fn each_function_is_in_one_table() {
        let tables: [Vec<&str>; 3] = [
            UNITS.iter().map(|it| it.name).collect(),
            WINDOWED.to_vec(),
            HISTORY.iter().map(|(name, _)| *name).collect(),
        ];
        for table in &tables {
            assert!(table.windows(2).all(|it| it[0] < it[1]), "not in order: {table:?}");
        }
        let all = tables.concat();
        for definition in catalogue().iter() {
            let n = all.iter().filter(|it| **it == definition.name).count();
            assert_eq!(n, 1, "{} is in {n} tables", definition.name);
        }
        assert_eq!(all.len(), catalogue().len());
    }
}
