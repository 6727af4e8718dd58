//! `application/x-www-form-urlencoded`, as the query protocol uses it.
//!
//! Only reading, and only what AWS clients send: flat names with dots. Invariant: malformed escapes are kept as they
//! are rather than refused, because the value they stand in is shown to a person at most.

/// All pairs in order, decoded.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = (String, String)> + '_ {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The first value of a name.
pub(crate) fn value(text: &str, name: &str) -> Option<String> {
    pairs(text).find(|(found, _)| found == name).map(|(_, value)| value)
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, escaped(tail)) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn escaped(tail: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
    u8::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let text = "Action=Put+Metric%20Data&Empty&A.member.1=%C3%A9%&Sum=1%2B1";
        assert_eq!(value(text, "Action").as_deref(), Some("Put Metric Data"));
        assert_eq!(value(text, "A.member.1").as_deref(), Some("é%"));
        assert_eq!(value(text, "Sum").as_deref(), Some("1+1"));
        assert_eq!((value(text, "Empty").as_deref(), value(text, "Absent")), (Some(""), None));
    }
}
