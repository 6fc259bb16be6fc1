//! A set of days within one span, which also counts them.

/// A set of days between two days; a day is its number from the Common Era's first.
#[derive(Debug, Clone)]
pub(super) struct Days {
    first: i32,
    last: i32,
    /// A bit a day, 64 to the word.
    words: Vec<u64>,
    /// How many days of the set lie before each word.
    before: Vec<i64>,
}

impl Days {
    /// The days of a span for which a condition holds.
    pub(super) fn new(first: i32, last: i32, holds: impl Fn(i32) -> bool) -> Self {
        let mut days = Self { first, last, words: Vec::new(), before: Vec::new() };
        let mut count = 0;
        let mut start = first;
        while start <= last {
            let word =
                (0..64).filter(|bit| start + bit <= last && holds(start + bit)).fold(0, |word, bit| word | 1 << bit);
            days.words.push(word);
            days.before.push(count);
            count += i64::from(word.count_ones());
            start += 64;
        }
        days
    }

    /// Whether the span has the day.
    pub(super) fn covers(&self, day: i32) -> bool {
        self.first <= day && day <= self.last
    }

    /// Whether the set has the day; `None` outside the span.
    pub(super) fn contains(&self, day: i32) -> Option<bool> {
        let (word, bit) = self.place(day)?;
        Some(self.words.get(word)? >> bit & 1 == 1)
    }

    /// How many days of the set are not after this one; `None` outside the span.
    pub(super) fn count(&self, day: i32) -> Option<i64> {
        let (word, bit) = self.place(day)?;
        let upto = self.words.get(word)? << (63 - bit);
        Some(self.before.get(word)? + i64::from(upto.count_ones()))
    }

    /// The first day of the set from this one on; `None` if the span has no more, or this day is outside it.
    pub(super) fn at_or_after(&self, day: i32) -> Option<i32> {
        let (word, bit) = self.place(day)?;
        let rest = self.words.get(word)? & (u64::MAX << bit);
        let (word, bits) = std::iter::once((word, rest))
            .chain(self.words.iter().copied().enumerate().skip(word + 1))
            .find(|(_, bits)| *bits != 0)?;
        self.day(word, bits.trailing_zeros())
    }

    /// The last day of the set up to this one; `None` if the span has none before, or this day is outside it.
    pub(super) fn at_or_before(&self, day: i32) -> Option<i32> {
        let (word, bit) = self.place(day)?;
        let rest = self.words.get(word)? & (u64::MAX >> (63 - bit));
        let earlier = self.words.iter().copied().enumerate().take(word).rev();
        let (word, bits) = std::iter::once((word, rest)).chain(earlier).find(|(_, bits)| *bits != 0)?;
        self.day(word, 63 - bits.leading_zeros())
    }

    fn place(&self, day: i32) -> Option<(usize, u32)> {
        if !self.covers(day) {
            return None;
        }
        let offset = u32::try_from(day.checked_sub(self.first)?).ok()?;
        Some((usize::try_from(offset / 64).ok()?, offset % 64))
    }

    fn day(&self, word: usize, bit: u32) -> Option<i32> {
        self.first.checked_add(i32::try_from(word * 64).ok()?)?.checked_add(i32::try_from(bit).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_plain_list() {
        let holds = |day: i32| day % 7 != 3 && day % 7 != 4 && day % 61 != 0;
        let (first, last) = (1000, 1400);
        let days = Days::new(first, last, holds);
        let list: Vec<i32> = (first..=last).filter(|it| holds(*it)).collect();
        for day in first..=last {
            assert_eq!(days.contains(day), Some(holds(day)));
            assert_eq!(
                days.count(day),
                Some(i64::try_from(list.iter().filter(|it| **it <= day).count()).unwrap_or(-1))
            );
            assert_eq!(days.at_or_after(day), list.iter().copied().find(|it| *it >= day));
            assert_eq!(days.at_or_before(day), list.iter().copied().rfind(|it| *it <= day));
        }
        for day in [first - 1, last + 1, i32::MIN, i32::MAX] {
            assert_eq!((days.contains(day), days.count(day)), (None, None));
            assert_eq!((days.at_or_after(day), days.at_or_before(day)), (None, None));
        }
    }
}
