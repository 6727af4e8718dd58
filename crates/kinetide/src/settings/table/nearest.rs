//! The key somebody probably meant.

use super::ROWS;

/// The known key nearest to an unknown one, if any is near enough to be worth suggesting: a few typing errors away, or
/// one is the beginning of the other.
#[must_use]
pub fn nearest(key: &str) -> Option<String> {
    let wanted = key.to_lowercase();
    let candidates = ROWS.iter().flat_map(super::Row::keys).filter(|known| !known.is_empty());
    let best = candidates
        .map(|known| (rank(&wanted, &known.to_lowercase()), known))
        .filter(|(rank, _)| *rank <= wanted.chars().count() / 4 + 1)
        .min_by_key(|(rank, known)| (*rank, known.len()));
    best.map(|(_, known)| known)
}

/// Number of typing errors; a key that goes on where the other stops counts as two.
fn rank(a: &str, b: &str) -> usize {
    const BEGINNING_MIN: usize = 5;
    const BEGINNING_RANK: usize = 2;
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    if short.len() >= BEGINNING_MIN && short.len() < long.len() && long.starts_with(short) {
        return BEGINNING_RANK;
    }
    distance(a, b)
}

/// Insertions, deletions and replacements that turn one text into the other, row by row of the usual matrix.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = above[0];
        above[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = above[j + 1];
            above[j + 1] = replaced.min(above[j] + 1).min(diagonal + 1);
        }
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_typing_errors() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn suggests_what_was_probably_meant() {
        let suggested = |key| nearest(key).unwrap_or_default();
        assert_eq!(suggested("failoverTimeMilis"), "failoverTimeMillis");
        assert_eq!(suggested("RetrievalMode"), "retrievalMode");
        assert_eq!(suggested("region"), "regionName");
        assert_eq!(suggested("initialPosition"), "initialPositionInStream");
        assert_eq!(suggested("dynamoDbEndpoint"), "dynamoDBEndpoint");
        assert_eq!(suggested("fanOutConfig.consumerName"), "fanoutConfig.consumerName");
        assert_eq!(suggested("awsCredentialsProviderDynamodb"), "AwsCredentialsProviderDynamoDB");
        assert_eq!(nearest("billingMode"), None);
        assert_eq!(nearest("x"), None);
    }
}
