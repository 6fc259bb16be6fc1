#!/usr/bin/env python3
"""Makes the table of exchange calendars that stockflow embeds, from the PyPI package `exchange_calendars`.

    python -m venv venv && venv/bin/pip install exchange_calendars==4.13.2 'pandas<3'
    venv/bin/python scripts/calendars.py > stockflow-core/src/market/calendar/data/calendars.txt
    venv/bin/python scripts/calendars.py --check stockflow-core/src/market/calendar/data/calendars.txt

(pandas 3 breaks the package's rules for the Orthodox Easter.)

Days and hours are the package's. Chosen here: which exchanges, under which names, and from which year to which year
each is trusted. `--check` reads a printed table back and compares every day of it with the package.

A year is in the table only if the package is believed to know all of it:

* the first year is the package's own lower bound, or the first whose irregular days its source lists, or, where its
  rules reach back without an end, the first for which they were looked at (1990 for New York, Toronto, London, Sydney,
  Hong Kong and Seoul, otherwise 2000 or later);
* the last year is the next one where holidays follow rules, and the last one that is listed where a government or the
  exchange announces them year by year.

`hours` is the first day on which the package's close is believed to be no earlier than the real one. A close that is
too late makes a bar known too late, one that is too early looks ahead; before that day the table gives days only.
"""

import argparse
import datetime
import sys
from zoneinfo import ZoneInfo

import exchange_calendars
import pandas as pd

LAST = 2027

# MIC, name, first year, last year, first day of known hours, other names.
# Other names: MICs with the same days, common names, Yahoo's `exchangeName` codes. A name that means two exchanges
# (TSE: Tokyo and Toronto; OSE: Osaka and Oslo) means none.
EXCHANGES = [
    # America
    ("XNYS", "New York Stock Exchange, Nasdaq", 1990, LAST, "1990-01-01",
     "NYSE NASDAQ AMEX ARCA BATS OTC XNAS XNGS XNMS XNCM XASE ARCX BATS OOTC PINX "
     "NYQ NYS NMS NGM NCM NAS NIM ASE PCX BTS PNK OQB OQX OEM OPR OBB SNP DJI CXI WCB"),
    ("XTSE", "Toronto Stock Exchange", 1990, LAST, "1990-01-01", "TSX TSXV XTSX XCNQ NEOE TOR VAN CNQ NEO"),
    ("XMEX", "Mexican Stock Exchange", 2000, LAST, "2000-01-01", "BMV MEX"),
    # 17:00 until 2019-11, while the sessions moved with New York's clocks.
    ("BVMF", "B3, Sao Paulo", 2000, LAST, "2019-11-04", "B3 BOVESPA SAO"),
    ("XBUE", "Buenos Aires Stock Exchange", 2010, 2026, "2010-01-01", "BYMA BUE"),
    ("XSGO", "Santiago Stock Exchange", 2010, LAST, "2010-01-01", "SGO"),
    ("XBOG", "Colombia Stock Exchange", 2010, LAST, "2010-01-01", "BVC"),
    ("XLIM", "Lima Stock Exchange", 2010, LAST, "2010-01-01", "BVL LIM"),
    ("CMES", "Chicago Mercantile Exchange, equity index futures", 2010, LAST, "2010-01-01",
     "XCME XCBT XNYM XCEC CME CBOT NYMEX COMEX CBT NYM CMX"),
    # Europe
    ("XLON", "London Stock Exchange", 1990, LAST, "1990-01-01", "LSE IOB AIM FGI"),
    # Evening trade to 20:00 from June 2000 to October 2003.
    ("XETR", "Xetra, Frankfurt", 2000, LAST, "2003-11-03", "XETRA GER"),
    # The floor trades until the evening, the package has Xetra's hours.
    ("XFRA", "Frankfurt Stock Exchange, floor", 2000, LAST, None, "FWB FRANKFURT FRA"),
    ("XDUS", "Dusseldorf Stock Exchange", 2010, LAST, "2010-01-01", "DUS"),
    ("XHAM", "Hamburg Stock Exchange", 2010, LAST, "2010-01-01", "HAM"),
    ("XSTU", "Stuttgart Stock Exchange", 2010, LAST, "2010-01-01", "STU"),
    ("XPAR", "Euronext Paris", 2002, LAST, "2002-01-01", "EURONEXT PAR ENX"),
    ("XAMS", "Euronext Amsterdam", 2002, LAST, "2002-01-01", "AMS AEX"),
    ("XBRU", "Euronext Brussels", 2002, LAST, "2002-01-01", "BRU"),
    ("XLIS", "Euronext Lisbon", 2004, LAST, "2004-01-01", "LIS"),
    ("XDUB", "Euronext Dublin", 2010, LAST, "2019-02-04", "XMSM ISE DUB"),
    ("XMIL", "Borsa Italiana, Milan", 2000, LAST, "2000-01-01", "MTAA MIL"),
    ("XMAD", "Bolsa de Madrid", 2005, LAST, "2005-01-01", "BME XMCE MCE MAD"),
    ("XSWX", "SIX Swiss Exchange", 2000, LAST, "2000-01-01", "XVTX SIX SWX EBS VTX ZRH"),
    ("XWBO", "Vienna Stock Exchange", 2010, LAST, "2010-01-01", "VIE"),
    ("XCSE", "Nasdaq Copenhagen", 2010, LAST, "2010-01-01", "CPH"),
    ("XSTO", "Nasdaq Stockholm", 2005, LAST, "2005-01-01", "STO"),
    ("XHEL", "Nasdaq Helsinki", 2005, LAST, "2005-01-01", "HEL"),
    # 17:20 until 2012.
    ("XOSL", "Oslo Bors", 2005, LAST, "2013-01-01", "OSL"),
    ("XICE", "Nasdaq Iceland", 2010, LAST, "2010-01-01", "ICE"),
    ("XTAL", "Nasdaq Tallinn", 2023, LAST, "2023-01-01", "TAL"),
    ("XRIS", "Nasdaq Riga", 2023, LAST, "2023-01-01", "RIS"),
    ("XLIT", "Nasdaq Vilnius", 2023, LAST, "2023-01-01", "LIT"),
    ("ASEX", "Athens Exchange", 2005, LAST, "2005-01-01", "XATH ATH"),
    ("XWAR", "Warsaw Stock Exchange", 2005, LAST, "2005-01-01", "WSE GPW WAR"),
    ("XPRA", "Prague Stock Exchange", 2005, LAST, "2005-01-01", "PRA PSE"),
    ("XBUD", "Budapest Stock Exchange", 2010, LAST, "2010-01-01", "BUD BET"),
    ("XIST", "Borsa Istanbul", 2003, 2026, "2003-01-01", "BIST IST"),
    # Middle East and Africa
    # The package says: dates checked for 2019 to 2026; the hours are the newest ones.
    ("XTAE", "Tel Aviv Stock Exchange", 2019, 2026, "2026-01-05", "TASE TLV"),
    ("XJSE", "Johannesburg Stock Exchange", 2004, LAST, "2004-01-01", "JSE JNB"),
    # Asia and the Pacific
    ("XTKS", "Tokyo Stock Exchange", 1997, LAST, "1997-01-01", "JPX TYO TOKYO"),
    ("XHKG", "Stock Exchange of Hong Kong", 1990, LAST, "1990-01-01", "HKEX SEHK HKG"),
    ("XSHG", "Shanghai and Shenzhen Stock Exchanges", 1991, 2026, "1991-01-01", "SSE SZSE XSHE XSEC XSSC SHH SHZ"),
    ("XTAI", "Taiwan Stock Exchange", 2002, 2026, "2002-01-01", "TWSE TPEX ROCO TAI TWO"),
    ("XKRX", "Korea Exchange", 1990, LAST, "1990-01-01", "KRX KOSPI KOSDAQ XKOS KSC KOE"),
    ("XBOM", "BSE and NSE of India", 1997, 2026, "1997-01-01", "NSE BSE XNSE NSI BOM"),
    ("XSES", "Singapore Exchange", 1990, 2026, "1990-01-01", "SGX SES"),
    ("XBKK", "Stock Exchange of Thailand", 2000, 2026, "2000-01-01", "SET BKK"),
    ("XKLS", "Bursa Malaysia", 2000, 2026, "2000-01-01", "KLSE KLS MYX"),
    # Listed to the end of 2025.
    ("XIDX", "Indonesia Stock Exchange", 2002, 2025, "2002-01-01", "IDX JKT"),
    ("XPHS", "Philippine Stock Exchange", 2002, 2026, "2002-01-01", "PHS PHP"),
    ("XKAR", "Pakistan Stock Exchange", 2002, 2025, "2002-01-01", "PSX KAR"),
    ("XASX", "Australian Securities Exchange", 1990, LAST, "1990-01-01", "ASX"),
    ("XNZE", "New Zealand Exchange", 1990, LAST, "1990-01-01", "NZX NZE"),
]

# What has no exchange. Yahoo stamps the days of currencies by London's clock and those of crypto by UTC.
ALWAYS = """
exchange 24/7 Crypto, every day from midnight to midnight
names ALWAYS CCC CRYPTO
zone UTC
years 1970 2100
week 1970-01-01 1234567
hours 1970-01-01 00:00-24:00

exchange 24/5 Currencies, weekdays from midnight to midnight in London
names CCY FOREX FX
zone Europe/London
years 1970 2100
week 1970-01-01 12345
hours 1970-01-01 00:00-24:00
"""

DAY = datetime.timedelta(days=1)


class Source:
    """One exchange as the package has it: the days of trade with their hours in local minutes of the day."""

    def __init__(self, mic, first, last):
        self.calendar = exchange_calendars.get_calendar(mic, start=f"{first}-01-01", end=f"{last}-12-31")
        self.zone = self.calendar.tz.key
        self.first, self.last = datetime.date(first, 1, 1), datetime.date(last, 12, 31)
        self.sessions = {}
        columns = ["open", "break_start", "break_end", "close"]
        for row in self.calendar.schedule[columns].itertuples():
            times = [None if pd.isna(at) else self.minute(row.Index.date(), at) for at in row[1:]]
            self.sessions[row.Index.date()] = tuple(times)

    def minute(self, day, at):
        local = at.tz_convert(self.zone).to_pydatetime().replace(tzinfo=None)
        # A session is labelled by its day; that of futures begins on the evening before.
        return int((local - datetime.datetime.combine(day, datetime.time())).total_seconds()) // 60

    def regimes(self):
        """The usual hours with the day from which they hold."""
        lists = [
            list(self.calendar.open_times),
            list(self.calendar.break_start_times or []),
            list(self.calendar.break_end_times or []),
            list(self.calendar.close_times),
        ]
        offsets = [self.calendar.open_offset * 1440, 0, 0, self.calendar.close_offset * 1440]

        def day_of(since):
            return self.first if since is None else max(self.first, since.date())

        found = []
        for start in sorted({day_of(since) for changes in lists for since, _ in changes}):
            times = []
            for changes, offset in zip(lists, offsets):
                held = [at for since, at in changes if since is None or since.date() <= start]
                times.append(offset + held[-1].hour * 60 + held[-1].minute if held and held[-1] else None)
            if start <= self.last and (not found or found[-1][1] != tuple(times)):
                found.append((start, tuple(times)))
        return found

    def weeks(self):
        """The usual days of trade in a week (1 is Monday) with the day from which they hold."""
        masks, since = [], self.first
        for start, until, mask in getattr(self.calendar, "special_weekmasks", None) or []:
            # A mask of a few days is told as closed and open days.
            if start is None and until is not None and until.date() >= since:
                masks.append((since, mask))
                since = until.date() + DAY
        masks.append((since, self.calendar.weekmask))
        return [(day, "".join(str(i + 1) for i, on in enumerate(mask) if on == "1")) for day, mask in masks]


def held(changes, day):
    return [value for since, value in changes if since <= day][-1]


def clock(minutes):
    before = "<" if minutes < 0 else ""
    return f"{before}{minutes % 1440 // 60 + (24 if minutes == 1440 else 0):02}:{minutes % 60:02}"


def spell(hours):
    opens, break_start, break_end, close = (None if it is None else clock(it) for it in hours)
    return f"{opens}-{close}" if break_start is None else f"{opens}-{break_start}/{break_end}-{close}"


def days(first, last):
    while first <= last:
        yield first
        first += DAY


def print_exchange(mic, name, first, last, hours_since, aliases, out):
    source = Source(mic, first, last)
    regimes, weeks = source.regimes(), source.weeks()
    print(f"\nexchange {mic} {name}", file=out)
    print(f"names {' '.join(sorted(set(aliases.split())))}", file=out)
    print(f"zone {source.zone}", file=out)
    print(f"years {first} {last}", file=out)
    for since, mask in weeks:
        print(f"week {since} {mask}", file=out)
    if hours_since is not None:
        known = datetime.date.fromisoformat(hours_since)
        held_then = [index for index, (since, _) in enumerate(regimes) if since <= known][-1]
        regimes = [(max(since, known), it) for since, it in regimes[held_then:]]
        for since, it in regimes:
            print(f"hours {since} {spell(it)}", file=out)
    for year in range(first, last + 1):
        closed, opened, special = [], [], {}
        for day in days(datetime.date(year, 1, 1), datetime.date(year, 12, 31)):
            usual = str(day.isoweekday()) in held(weeks, day)
            hours = source.sessions.get(day)
            if usual and hours is None:
                closed.append(day)
            if hours is not None and not usual:
                opened.append(day)
            if hours is not None and hours_since is not None and day >= known and hours != held(regimes, day):
                special.setdefault(spell(hours), []).append(day)
        others = [(f"at {hours}", listed) for hours, listed in sorted(special.items())]
        for word, listed in [("closed", closed), ("open", opened), *others]:
            if listed:
                word, _, at = word.partition(" ")
                at = f" {at}" if at else ""
                print(f"{word} {year}{at} {' '.join(f'{it:%m%d}' for it in listed)}", file=out)


HEAD = """\
# Exchange calendars: days and hours of trade.
#
# Made by scripts/calendars.py from exchange_calendars {version} (PyPI); do not edit by hand.
# Source: that package, licensed under the Apache License, Version 2.0.
# The facts were taken over, no code. What holds for each line is said in data.rs.
"""


def print_table(out):
    print(HEAD.format(version=exchange_calendars.__version__), end="", file=out)
    print(ALWAYS, end="", file=out)
    for row in EXCHANGES:
        print_exchange(*row, out)


def read_minutes(text):
    sign = -1440 if text.startswith("<") else 0
    hour, minute = text.lstrip("<").split(":")
    return sign + int(hour) * 60 + int(minute)


def read_hours(text):
    parts = [[read_minutes(at) for at in part.split("-")] for part in text.split("/")]
    if len(parts) == 1:
        return (parts[0][0], None, None, parts[0][1])
    return (parts[0][0], parts[0][1], parts[1][0], parts[1][1])


def read_table(text):
    """The table read back by its own words, without what printed it."""
    table = {}
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if word in ("", "#"):
            continue
        if word == "exchange":
            entry = {"weeks": [], "hours": [], "closed": set(), "open": set(), "at": {}}
            table[rest.split()[0]] = entry
        elif word == "zone":
            entry["zone"] = rest
        elif word == "years":
            entry["years"] = [int(it) for it in rest.split()]
        elif word == "week":
            since, mask = rest.split()
            entry["weeks"].append((datetime.date.fromisoformat(since), mask))
        elif word == "hours":
            since, hours = rest.split()
            entry["hours"].append((datetime.date.fromisoformat(since), read_hours(hours)))
        elif word in ("closed", "open", "at"):
            year, *items = rest.split()
            hours = read_hours(items.pop(0)) if word == "at" else None
            for item in items:
                day = datetime.date(int(year), int(item[:2]), int(item[2:]))
                entry[word].add(day) if hours is None else entry[word].update({day: hours})
    return table


def instant(zone, day, minute):
    at = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(minutes=minute)
    return at.replace(tzinfo=ZoneInfo(zone)).astimezone(datetime.timezone.utc)


def check(text):
    """How many days differ from the package; each is told."""
    wrong = counted = 0
    table = read_table(text)
    for mic, entry in table.items():
        if "/" in mic:
            continue
        first, last = entry["years"]
        calendar = exchange_calendars.get_calendar(mic, start=f"{first}-01-01", end=f"{last}-12-31")
        columns = ["open", "break_start", "break_end", "close"]
        expected = {row.Index.date(): row[1:] for row in calendar.schedule[columns].itertuples()}
        for day in days(datetime.date(first, 1, 1), datetime.date(last, 12, 31)):
            usual = str(day.isoweekday()) in held(entry["weeks"], day)
            session = (usual and day not in entry["closed"]) or day in entry["open"]
            counted += 1
            if session != (day in expected):
                wrong += 1
                print(f"{mic} {day}: a session is {session} here and {day in expected} in the package")
            elif session and entry["hours"] and day >= entry["hours"][0][0]:
                hours = entry["at"].get(day) or held(entry["hours"], day)
                for name, minute, at in zip(columns, hours, expected[day]):
                    found = None if minute is None else instant(entry["zone"], day, minute)
                    if found != (None if pd.isna(at) else at.to_pydatetime()):
                        wrong += 1
                        print(f"{mic} {day}: {name} is {found} here and {at} in the package")
    print(f"{counted} days of {len(table)} calendars compared, {wrong} differ")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", metavar="FILE", help="compare a printed table with the package")
    options = parser.parse_args()
    if options.check is None:
        print_table(sys.stdout)
        return 0
    with open(options.check, encoding="utf-8") as file:
        return 1 if check(file.read()) else 0


if __name__ == "__main__":
    sys.exit(main())
