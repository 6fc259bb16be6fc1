#![allow(clippy::unwrap_used)]

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use proptest::prelude::*;

use super::{BarCloses, Calendar, Gaps};
use crate::transform::{Interval, IntervalUnit};

fn day(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn of(name: &str) -> &'static Calendar {
    Calendar::of(name).unwrap()
}

#[track_caller]
fn check_closed(name: &str, dates: &[&str]) {
    for date in dates {
        assert_eq!(of(name).is_session(day(date)), Some(false), "{name} {date}");
    }
}

#[track_caller]
fn check_open(name: &str, dates: &[&str]) {
    for date in dates {
        assert_eq!(of(name).is_session(day(date)), Some(true), "{name} {date}");
    }
}

/// Local open and close of a day, and whether it is a half day.
#[track_caller]
fn check_hours(name: &str, date: &str, expected: &str, half: bool) {
    let session = of(name).session(day(date)).unwrap();
    let local = |it: DateTime<Utc>| it.with_timezone(&of(name).time_zone()).format("%H:%M").to_string();
    let mut found = format!("{}-{}", local(session.open), local(session.close));
    if let Some((start, end)) = session.pause {
        found = format!("{}-{}/{}-{}", local(session.open), local(start), local(end), local(session.close));
    }
    assert_eq!((found.as_str(), session.is_half_day), (expected, half), "{name} {date}");
}

#[track_caller]
fn check_bar(name: &str, ts: &str, interval: &str, expected: Option<&str>) {
    let found = of(name).bar_closes_at(at(ts), interval.parse().unwrap());
    assert_eq!(found, expected.map(at), "{name} {ts} {interval}");
}

#[test]
fn is_found_by_mic_common_name_and_yahoo_code() {
    for (mic, names) in [
        ("XNYS", "XNYS XNAS NYSE nasdaq NMS NYQ NGM NCM ASE PCX BTS PNK"),
        ("XLON", "LSE"),
        ("XETR", "XETRA GER"),
        ("XFRA", "FRA"),
        ("XTKS", "JPX"),
        ("XHKG", "HKEX HKG"),
        ("XTSE", "TSX TOR VAN"),
        ("XPAR", "PAR"),
        ("XAMS", "AMS"),
        ("XMIL", "MIL"),
        ("XCSE", "CPH"),
        ("XSTO", "STO"),
        ("XOSL", "OSL"),
        ("XHEL", "HEL"),
        ("XSWX", "SIX SWX EBS"),
        ("XIDX", "JKT"),
        ("XASX", "ASX"),
        ("XSGO", "SGO"),
        ("BVMF", "SAO"),
        ("XKRX", "KSC KOE"),
        ("XBOM", "NSI BSE NSE"),
        ("XTAE", "TLV"),
        ("XJSE", "JNB"),
        ("24/7", "CCC crypto"),
        ("24/5", "CCY fx"),
    ] {
        for name in names.split(' ') {
            assert_eq!(Calendar::of(name).map(Calendar::mic), Some(mic), "{name}");
        }
    }
    assert_eq!(of(" nyse ").name(), "New York Stock Exchange, Nasdaq");
    for name in ["", "TSE", "NOWHERE", "é"] {
        assert!(Calendar::of(name).is_none(), "{name}");
    }
}

#[test]
fn new_york_is_closed_on_these_days() {
    // The World Trade Center, Sandy, Bush, Ford, Reagan, Nixon, Carter.
    check_closed("NYSE", &["2001-09-11", "2001-09-12", "2001-09-13", "2001-09-14", "2012-10-29", "2012-10-30"]);
    check_closed("NYSE", &["2018-12-05", "2007-01-02", "2004-06-11", "1994-04-27", "2025-01-09"]);
    // Good Fridays, Juneteenth since 2022, days moved to Friday or Monday, a weekend.
    check_closed("NYSE", &["1999-04-02", "2015-04-03", "2021-04-02", "2024-03-29", "2025-04-18", "2026-04-03"]);
    check_closed("NYSE", &["2022-06-20", "2023-06-19", "2024-06-19", "2026-07-03", "2022-12-26", "2024-03-02"]);
    check_closed("NASDAQ", &["2024-11-28", "2024-12-25", "2025-01-01", "2025-01-20"]);
    check_open("NYSE", &["1999-12-31", "2001-09-10", "2001-09-17", "2012-10-31", "2018-12-04", "2018-12-06"]);
    check_open("NYSE", &["2021-06-18", "2021-12-31", "2010-12-31", "2024-12-24", "2025-01-08", "2025-01-10"]);
}

#[test]
fn new_york_closes_early_on_these_days() {
    for date in ["2012-11-23", "2019-07-03", "2023-07-03", "2024-11-29", "2024-12-24", "2025-07-03", "2026-11-27"] {
        check_hours("NYSE", date, "09:30-13:00", true);
    }
    check_hours("NYSE", "1999-12-31", "09:30-13:00", true);
    check_hours("NYSE", "2024-12-31", "09:30-16:00", false);
    // The clocks change in between.
    assert_eq!(of("NYSE").session(day("2024-03-08")).unwrap().close, at("2024-03-08T21:00:00Z"));
    assert_eq!(of("NYSE").session(day("2024-03-11")).unwrap().close, at("2024-03-11T20:00:00Z"));
    assert_eq!(of("NYSE").session(day("2024-11-28")), None);
}

#[test]
fn europe() {
    // A funeral, coronation, jubilees, a moved bank holiday.
    check_closed("LSE", &["2022-09-19", "2023-05-08", "2022-06-02", "2022-06-03", "2012-06-04", "2012-06-05"]);
    check_closed("LSE", &["2020-05-08", "2011-04-29", "2024-12-26", "2024-08-26", "2024-04-01", "1999-12-31"]);
    check_open("LSE", &["2022-09-20", "2020-05-04", "2024-12-27", "2024-06-19"]);
    check_hours("LSE", "2024-12-24", "08:00-12:30", true);
    check_hours("LSE", "2024-12-23", "08:00-16:30", false);
    check_closed("XETRA", &["2024-12-24", "2024-12-31", "2024-05-01", "2021-05-24", "2017-10-31", "2018-10-03"]);
    check_open("XETRA", &["2024-12-30", "2024-10-03", "2022-06-06", "2024-05-20"]);
    check_hours("XETRA", "2024-12-30", "09:00-14:00", true);
    check_closed("XPAR", &["2024-05-01", "2024-04-01", "2024-12-26"]);
    check_open("XPAR", &["2024-05-08", "2023-07-14", "2024-08-15"]);
    check_hours("XAMS", "2024-12-31", "09:00-14:05", true);
    check_closed("XSWX", &["2024-01-02", "2024-08-01", "2024-05-09"]);
    check_closed("XMIL", &["2024-08-15", "2024-12-24", "2024-12-31"]);
    check_closed("XSTO", &["2024-06-06", "2024-06-21"]);
    check_closed("XCSE", &["2024-03-28", "2023-05-05"]);
    check_open("XCSE", &["2024-04-26"]);
}

#[test]
fn asia_and_the_pacific() {
    // Ten days in a row around the new emperor; a day without any trade for an outage.
    check_closed("JPX", &["2019-04-29", "2019-04-30", "2019-05-01", "2019-05-02", "2019-05-03", "2019-05-06"]);
    check_closed("JPX", &["2020-10-01", "2024-12-31", "2025-01-03", "2021-07-22", "2021-08-09"]);
    check_open("JPX", &["2019-04-26", "2019-05-07", "2020-10-02", "2021-07-19", "2024-12-30"]);
    check_hours("JPX", "2024-11-01", "09:00-11:30/12:30-15:00", false);
    check_hours("JPX", "2024-11-05", "09:00-11:30/12:30-15:30", false);
    // Typhoons Utor, Nida, Haima, Hato, Kompasu, Talim and Yagi, and a celebration.
    check_closed("HKEX", &["2013-08-14", "2016-08-02", "2016-10-21", "2017-08-23", "2021-10-13", "2023-07-17"]);
    check_closed("HKEX", &["2024-09-06", "2015-09-03", "2024-02-12", "2024-04-04", "2024-12-25"]);
    check_open("HKEX", &["2017-08-24", "2023-07-18", "2024-02-14"]);
    check_hours("HKEX", "2024-12-24", "09:30-12:00", true);
    check_hours("HKEX", "2024-12-23", "09:30-12:00/13:00-16:00", false);
    check_closed("XSHG", &["2024-10-01", "2024-10-07", "2020-01-31", "2015-09-03", "2024-02-09"]);
    check_closed("ASX", &["2024-01-26", "2024-04-25", "2022-09-22", "2024-06-10"]);
    check_open("ASX", &["2022-09-23", "2024-11-05"]);
    check_hours("ASX", "2024-12-24", "10:00-14:10", true);
    check_open("NSE", &["2024-01-20", "2025-02-01"]);
    check_closed("NSE", &["2024-01-22", "2024-05-20", "2023-06-29"]);
    // Saturdays until December 1998; an hour later for the university entrance examination.
    check_open("KRX", &["1998-11-28", "2020-12-03"]);
    check_closed("KRX", &["1998-12-12"]);
    check_hours("KRX", "2020-12-03", "10:00-16:30", false);
    // Sundays to Thursdays until 2025.
    check_open("TLV", &["2025-12-28", "2026-01-09"]);
    check_closed("TLV", &["2025-12-26", "2026-01-11"]);
}

#[test]
fn america_beyond_new_york() {
    check_closed("TSX", &["2024-07-01", "2024-10-14", "2024-05-20", "2024-02-19", "2001-09-12", "2024-12-26"]);
    check_open("TSX", &["2024-07-04", "2024-11-28", "2018-12-05", "2007-02-19", "2012-10-29"]);
    check_hours("TSX", "2024-12-24", "09:30-13:00", true);
    check_closed("SAO", &["2024-02-12", "2024-11-20", "2024-05-30"]);
    check_open("SAO", &["2023-07-10", "2024-07-09", "2024-07-04"]);
    check_closed("CME", &["2024-03-29", "2024-12-25"]);
    let session = of("CME").session(day("2024-03-11")).unwrap();
    assert_eq!((session.open, session.close), (at("2024-03-10T22:00:00Z"), at("2024-03-11T22:00:00Z")));
}

#[test]
fn crypto_never_closes_and_currencies_rest_on_weekends() {
    check_open("CCC", &["2024-12-25", "2024-03-02", "2024-03-03"]);
    check_bar("CCC", "2024-02-29T00:00:00Z", "1d", Some("2024-03-01T00:00:00Z"));
    check_bar("CCC", "2024-02-29T23:00:00Z", "2h", Some("2024-03-01T00:00:00Z"));
    check_bar("CCC", "2024-03-01T00:00:00Z", "1mo", Some("2024-04-01T00:00:00Z"));
    check_open("CCY", &["2024-12-25", "2024-03-01"]);
    check_closed("CCY", &["2024-03-02", "2024-03-03"]);
    // By London's clock.
    check_bar("CCY", "2024-07-01T00:00:00Z", "1d", Some("2024-07-01T23:00:00Z"));
    check_bar("CCY", "2024-01-05T00:00:00Z", "1d", Some("2024-01-06T00:00:00Z"));
}

#[test]
fn what_the_table_does_not_know_is_unknown() {
    let nyse = of("NYSE");
    assert_eq!(nyse.years(), 1990..=2027);
    for date in ["1989-12-29", "2028-01-03", "+262142-12-31", "-262143-01-01"] {
        let date = day(date);
        assert_eq!((nyse.is_session(date), nyse.session(date)), (None, None));
        assert_eq!((nyse.next_session(date), nyse.previous_session(date)), (None, None));
        assert_eq!((nyse.sessions_between(date, day("2024-01-02")), nyse.sessions_between(date, date)), (None, None));
        assert!(nyse.sessions(day("2024-01-02"), date).is_none());
    }
    assert_eq!(nyse.next_session(day("2027-12-31")), None);
    assert_eq!(nyse.previous_session(day("1990-01-02")), None);
    assert_eq!(nyse.next_session(day("1990-01-01")), Some(day("1990-01-02")));
    // Days, but no hours.
    assert_eq!(of("GER").hours_since(), Some(day("2003-11-03")));
    assert_eq!(of("GER").is_session(day("2001-03-01")), Some(true));
    assert_eq!(of("GER").session(day("2001-03-01")), None);
    check_bar("GER", "2001-03-01T00:00:00Z", "1d", None);
    check_bar("GER", "2001-03-01T10:00:00Z", "1h", None);
    check_bar("GER", "2003-11-03T00:00:00Z", "1d", Some("2003-11-03T16:30:00Z"));
    assert_eq!(of("FRA").hours_since(), None);
    check_bar("FRA", "2024-03-01T10:00:00Z", "1h", None);
    check_bar("FRA", "2024-03-01T00:00:00Z", "1d", None);
    check_bar("NYSE", "1989-12-29T00:00:00Z", "1d", None);
    check_bar("NYSE", "2028-01-03T15:00:00Z", "5m", None);
    // The week reaches into a year that is unknown.
    check_bar("NYSE", "1990-01-01T00:00:00Z", "1wk", Some("1990-01-05T21:00:00Z"));
    check_bar("NYSE", "2027-12-27T00:00:00Z", "1wk", None);
    check_bar("NYSE", "2027-10-01T00:00:00Z", "3mo", Some("2027-12-31T21:00:00Z"));
    check_bar("NYSE", "2027-11-01T00:00:00Z", "3mo", None);
}

#[test]
fn counts_the_sessions_of_price_files() {
    // shared/data/prices: S&P 500 stocks of 2013 to 2018 have 1259 dates, bokeh's AAPL 3270; all of them are sessions.
    assert_eq!(of("NYSE").sessions_between(day("2013-02-08"), day("2018-02-07")), Some(1259));
    assert_eq!(of("NYSE").sessions_between(day("2000-03-01"), day("2013-03-01")), Some(3270));
    for (year, sessions) in [(1999, 252), (2001, 248), (2012, 250), (2020, 253), (2024, 252), (2025, 250)] {
        let count = of("NYSE").sessions_between(day(&format!("{year}-01-01")), day(&format!("{year}-12-31")));
        assert_eq!(count, Some(sessions), "{year}");
    }
    assert_eq!(of("NYSE").sessions_between(day("2024-03-01"), day("2024-03-01")), Some(1));
    assert_eq!(of("NYSE").sessions_between(day("2024-03-02"), day("2024-03-03")), Some(0));
    assert_eq!(of("NYSE").sessions_between(day("2024-03-04"), day("2024-03-01")), Some(0));
}

#[test]
fn bars_of_a_day_and_more_end_with_their_last_session() {
    check_bar("NYSE", "2024-11-27T00:00:00Z", "1d", Some("2024-11-27T21:00:00Z"));
    check_bar("NYSE", "2024-11-29T00:00:00Z", "1d", Some("2024-11-29T18:00:00Z"));
    check_bar("NYSE", "2024-07-01T00:00:00Z", "1d", Some("2024-07-01T20:00:00Z"));
    check_bar("NYSE", "2024-11-28T00:00:00Z", "1d", None);
    check_bar("NYSE", "2024-11-25T00:00:00Z", "1wk", Some("2024-11-29T18:00:00Z"));
    check_bar("NYSE", "2024-11-25T00:00:00Z", "5d", Some("2024-11-29T18:00:00Z"));
    check_bar("NYSE", "2024-03-25T00:00:00Z", "1wk", Some("2024-03-28T20:00:00Z"));
    check_bar("NYSE", "2024-03-27T00:00:00Z", "1wk", Some("2024-03-28T20:00:00Z"));
    check_bar("NYSE", "2024-03-01T00:00:00Z", "1mo", Some("2024-03-28T20:00:00Z"));
    check_bar("NYSE", "2024-01-01T00:00:00Z", "3mo", Some("2024-03-28T20:00:00Z"));
    check_bar("NYSE", "2024-01-01T00:00:00Z", "1y", Some("2024-12-31T21:00:00Z"));
    check_bar("NYSE", "2024-03-02T00:00:00Z", "2d", None);
    check_bar("ASX", "2024-01-02T00:00:00Z", "1d", Some("2024-01-02T05:00:00Z"));
    // Golden Week: the month's last session is the 26th.
    check_bar("JPX", "2019-04-01T00:00:00Z", "1mo", Some("2019-04-26T06:00:00Z"));
    check_bar("JPX", "2019-04-29T00:00:00Z", "1wk", None);
}

#[test]
fn bars_within_the_day_end_by_their_width_or_with_the_session() {
    check_bar("NYSE", "2024-03-11T13:30:00Z", "5m", Some("2024-03-11T13:35:00Z"));
    check_bar("NYSE", "2024-03-11T19:30:00Z", "1h", Some("2024-03-11T20:00:00Z"));
    check_bar("NYSE", "2024-11-29T17:30:00Z", "1h", Some("2024-11-29T18:00:00Z"));
    // Before the open, after the close, on a holiday.
    check_bar("NYSE", "2024-03-11T13:00:00Z", "1h", Some("2024-03-11T14:00:00Z"));
    check_bar("NYSE", "2024-03-11T20:00:00Z", "1h", Some("2024-03-11T21:00:00Z"));
    check_bar("NYSE", "2024-11-28T15:00:00Z", "30m", Some("2024-11-28T15:30:00Z"));
    // Sydney's morning is the evening before in UTC.
    check_bar("ASX", "2024-01-01T23:00:00Z", "1h", Some("2024-01-02T00:00:00Z"));
    check_bar("ASX", "2024-01-02T04:30:00Z", "1h", Some("2024-01-02T05:00:00Z"));
    // Futures: Sunday evening belongs to Monday, Friday evening to nothing.
    check_bar("CME", "2024-03-10T22:00:00Z", "90m", Some("2024-03-10T23:30:00Z"));
    check_bar("CME", "2024-03-11T21:30:00Z", "1h", Some("2024-03-11T22:00:00Z"));
    check_bar("CME", "2024-03-11T22:00:00Z", "1h", Some("2024-03-11T23:00:00Z"));
    check_bar("CME", "2024-03-15T22:00:00Z", "1h", Some("2024-03-15T23:00:00Z"));
}

#[test]
fn gaps_are_told_from_what_is_unknown() {
    let nyse = of("NYSE");
    let present = ["2024-11-29", "2024-11-26", "2024-11-28", "2024-11-26", "2024-12-02", "2020-01-02"].map(day);
    let gaps = nyse.gaps(day("2024-11-25"), day("2024-12-01"), present);
    let expected = Gaps {
        missing: ["2024-11-25", "2024-11-27"].map(day).to_vec(),
        unexpected: vec![day("2024-11-28")],
        unknown: vec![],
    };
    assert_eq!(gaps, expected);
    assert!(!gaps.is_complete());
    assert!(nyse.gaps(day("2024-11-30"), day("2024-12-02"), [day("2024-12-02")]).is_complete());

    let gaps = nyse.gaps(day("1989-12-28"), day("1990-01-02"), [day("1989-12-28"), day("1990-01-02")]);
    assert_eq!(gaps, Gaps { unknown: vec![(day("1989-12-28"), day("1989-12-31"))], ..Gaps::default() });
    let gaps = nyse.gaps(day("2028-01-03"), day("2028-01-05"), []);
    assert_eq!(gaps, Gaps { unknown: vec![(day("2028-01-03"), day("2028-01-05"))], ..Gaps::default() });
    let gaps = nyse.gaps(NaiveDate::MIN, NaiveDate::MAX, []);
    assert_eq!((gaps.unknown.len(), gaps.missing.first()), (2, Some(&day("1990-01-02"))));
    assert_eq!(nyse.gaps(day("2024-12-02"), day("2024-11-25"), []), Gaps::default());
}

#[test]
fn every_session_has_hours_in_order() {
    for calendar in Calendar::all() {
        let (first, last) = (calendar.first, calendar.last);
        let count = calendar.sessions(first, last).unwrap().count();
        assert_eq!(calendar.sessions_between(first, last), Some(i64::try_from(count).unwrap()));
        for date in calendar.sessions(first, last).unwrap() {
            assert!(calendar.years().contains(&date.year()));
            let known = calendar.hours_since().is_some_and(|it| it <= date);
            let session = calendar.session(date);
            assert_eq!(session.is_some(), known, "{} {date}", calendar.mic());
            let Some(session) = session else { continue };
            assert!(session.open < session.close, "{} {date}", calendar.mic());
            assert!(
                session.pause.is_none_or(|(start, end)| session.open < start && start < end && end < session.close)
            );
        }
    }
}

fn any_calendar() -> impl Strategy<Value = &'static Calendar> {
    (0..Calendar::all().len()).prop_map(|at| &Calendar::all()[at])
}

fn any_date() -> impl Strategy<Value = NaiveDate> {
    let from = day("1985-01-01").num_days_from_ce();
    let to = day("2032-01-01").num_days_from_ce();
    (from..to).prop_map(|it| NaiveDate::from_num_days_from_ce_opt(it).unwrap())
}

fn any_interval() -> impl Strategy<Value = Interval> {
    let names =
        ["30s", "1m", "5m", "7m", "1h", "4h", "1d", "2d", "5d", "1wk", "2wk", "1mo", "3mo", "1y", "10000h", "10000y"];
    (0..names.len()).prop_map(move |at| names[at].parse().unwrap())
}

proptest! {
    #[test]
    fn the_next_session_is_later_and_the_previous_one_of_it_is_not(calendar in any_calendar(), date in any_date()) {
        if let Some(next) = calendar.next_session(date) {
            prop_assert!(next > date);
            prop_assert_eq!(calendar.is_session(next), Some(true));
            let here = i64::from(calendar.is_session(date).unwrap());
            prop_assert_eq!(calendar.sessions_between(date, next), Some(1 + here));
            prop_assert!(calendar.previous_session(next).is_none_or(|it| it <= date));
        }
    }

    #[test]
    fn counts_add_up(calendar in any_calendar(), a in any_date(), b in any_date(), c in any_date()) {
        let mut dates = [a, b, c];
        dates.sort_unstable();
        let [a, b, c] = dates;
        let after = b.succ_opt().unwrap();
        if let (Some(whole), true) = (calendar.sessions_between(a, c), calendar.covers(after)) {
            let parts = calendar.sessions_between(a, b).unwrap() + calendar.sessions_between(after, c).unwrap();
            prop_assert_eq!(whole, parts);
            prop_assert_eq!(calendar.gaps(a, c, []).missing.len(), usize::try_from(whole).unwrap());
        }
    }

    #[test]
    fn a_bar_ends_after_it_begins(
        calendar in any_calendar(), date in any_date(), second in 0..86_400_u32, interval in any_interval(),
    ) {
        // Weeks, months and years are stamped with their first day.
        let date = match interval.unit() {
            IntervalUnit::Week => date - Days::new(date.weekday().num_days_from_monday().into()),
            IntervalUnit::Month => date.with_day(1).unwrap(),
            IntervalUnit::Year => date.with_ordinal(1).unwrap(),
            _ => date,
        };
        let midnight = date.and_hms_opt(0, 0, 0).unwrap().and_utc();
        let ts = if interval.is_intraday() { midnight + TimeDelta::seconds(second.into()) } else { midnight };
        if let Some(close) = calendar.bar_closes_at(ts, interval) {
            prop_assert!(close > ts);
            if let Some(width) = interval.seconds().filter(|_| interval.is_intraday()) {
                prop_assert!(close <= ts + TimeDelta::seconds(width));
            }
        }
    }

    #[test]
    fn remembering_changes_nothing(
        calendar in any_calendar(), date in any_date(), steps in prop::collection::vec(-200_000..400_000_i64, 1..60),
        interval in any_interval(),
    ) {
        let mut closes = BarCloses::new(calendar, interval);
        let mut ts = date.and_hms_opt(0, 0, 0).unwrap().and_utc();
        for step in steps {
            ts += TimeDelta::seconds(step);
            prop_assert_eq!(closes.at(ts), calendar.bar_closes_at(ts, interval));
        }
    }

    #[test]
    fn nothing_panics(
        calendar in any_calendar(), days in any::<i32>(), micros in any::<i64>(), interval in any_interval(),
    ) {
        let date = NaiveDate::from_num_days_from_ce_opt(days).unwrap_or(NaiveDate::MAX);
        let ts = DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MIN_UTC);
        let _ = (calendar.is_session(date), calendar.next_session(date), calendar.previous_session(date));
        let _ = (calendar.session(date), calendar.sessions_between(date, ts.date_naive()));
        let _ = (calendar.bar_closes_at(ts, interval), calendar.gaps(date, date, [date]));
    }
}

#[test]
fn the_ends_of_time_do_not_panic() {
    for calendar in Calendar::all() {
        for interval in ["1m", "1d", "1wk", "3mo", "10000y"].map(|it| it.parse::<Interval>().unwrap()) {
            for ts in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                assert_eq!(calendar.bar_closes_at(ts, interval), None);
            }
        }
        for date in [NaiveDate::MIN, NaiveDate::MAX, NaiveDate::MAX - Days::new(1)] {
            assert_eq!((calendar.next_session(date), calendar.previous_session(date)), (None, None));
        }
    }
}
