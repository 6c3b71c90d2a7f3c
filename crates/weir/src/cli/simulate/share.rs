//! A share of the command line.

/// `60%`, as a part of one; above 0% and up to 1000%.
pub(super) fn parse(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').and_then(|digits| digits.parse::<f64>().ok());
    let share = number.filter(|number| *number > 0.0 && *number <= 1000.0);
    share
        .map(|share| share / 100.0)
        .ok_or_else(|| "write a percentage above 0% and up to 1000%, such as 60%".into())
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn shares_are_percentages() {
        assert_eq!(parse("60%"), Ok(0.6));
        assert_eq!(parse("7.5%"), Ok(0.075));
        for text in ["60", "0%", "-5%", "%", "NaN%", "inf%", "2000%"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
