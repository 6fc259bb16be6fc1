//! Sub-units of currencies, as Yahoo writes them.

/// The currency that a code is a part of, and how much of it: `GBp` is 0.01 `GBP`. `None` for a code that is no sub-unit.
///
/// | code | of | part |
/// |---|---|---|
/// | `GBp`, `GBX` | `GBP` | 0.01 |
/// | `ZAc` | `ZAR` | 0.01 |
/// | `ILA` | `ILS` | 0.01 |
/// | `KWF` | `KWD` | 0.001 |
///
/// Case matters: in capitals `GBp` would be a hundred times as much. Never change the case of a currency code.
pub fn sub_unit(code: &str) -> Option<(&'static str, f64)> {
    Some(match code {
        "GBp" | "GBX" => ("GBP", 0.01),
        "ZAc" => ("ZAR", 0.01),
        "ILA" => ("ILS", 0.01),
        "KWF" => ("KWD", 0.001),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::sub_unit;

    #[test]
    fn case_decides() {
        assert_eq!(sub_unit("GBp"), Some(("GBP", 0.01)));
        assert_eq!(sub_unit("KWF"), Some(("KWD", 0.001)));
        assert_eq!(sub_unit("GBP"), None);
        assert_eq!(sub_unit("ZAC"), None);
        assert_eq!(sub_unit("USD"), None);
    }
}
