"""Made-up texts about deals, with everything annotated: what tests use in place of the demo's data.

Their labels are those of tests/configs/llm.cfg. A text depends on its number alone.
"""

import csv
import random
import re
from pathlib import Path
from typing import Any

from running import ROOT

from ie.data.records import Record

# The demo's, copied so that `init` doesn't change them; a test of the demo compares them.
CONFIGS = ROOT / "tests" / "configs"
SCHEME = CONFIGS / "llm.cfg"

TALK = "Hooli raises $5m to revolutionize search, led by ACME Ventures."
COLUMNS = ("id", "name", "aliases", "kind", "country", "description")
_FIRST = [
    *("Alder", "Basalt", "Cobalt", "Dovetail", "Ember", "Fjord", "Gőzös", "Harbour", "Inkwell", "Jadran"),
    *("Kestrel", "Lantern", "Meadow", "Nordkette", "Orchard", "Pagoda", "Quarry", "Redoubt", "Selvedge"),
    *("Thistle", "Umbra", "Velto", "Willow", "Xylo", "Yarrow", "Zephyr"),
]
_LAST = ["Robotics", "Compute", "Foods", "Optical", "Logistik", "Ceramics", "Bank", "Volt", "Mills", "Energy"]
_FUNDS = ["Ventures", "Capital", "Partners", "Tőke", "Growth"]
COMPANIES = [f"{first} {last}" for last in _LAST for first in _FIRST]
INVESTORS = ["ACME Ventures", *(f"{first} {last}" for last in _FUNDS for first in _FIRST[::3])]
# What is linked: every company but each eighth, and all investors.
TABLE = [
    {"id": "5923214", "name": "Hooli", "aliases": "Hooli Inc", "kind": "company", "country": "US"},
    {"id": "1681056", "name": "ACME Ventures", "kind": "fund", "country": "US"},
    *(
        {"id": f"{2000 + i}", "name": name, "kind": "company", "country": ("UK", "NO", "", "JP")[i % 4]}
        for i, name in enumerate(COMPANIES)
        if i % 8 != 7
    ),
    *({"id": f"{3000 + i}", "name": name, "kind": "fund"} for i, name in enumerate(INVESTORS) if i),
]
_IDS = {row["name"]: row["id"] for row in TABLE}
_AMOUNTS = {
    "${}m": (10**6, "USD"),
    "€{} million": (10**6, "EUR"),
    "£{}k": (10**3, "GBP"),
    "NOK {} million": (10**6, "NOK"),
    "{}bn yen": (10**9, "JPY"),
}
_FRAMES = {
    "FUNDING": [
        "{company} raised {money} to build {thing} in {town}, led by {investor}.",
        "On {day}, {company} closed a {money} round; {investor} and {other} put the money in.",
        "{investor} leads a {money} round in {company}, which sells {thing} around {town}.",
        "The maker of {thing} {company} has taken {money} from {investor}, it said on {day}.",
        "{town} is where {company}, now {money} richer thanks to {investor} and {other}, will hire.",
        "“We're ready,” said the founders of {company} after their seed round of {money} for {thing}.",
    ],
    "ACQUISITION": [
        "{company} buys its rival {other} for {money}, and with it {thing} made in {town}.",
        "{other} agreed on {day} to be taken over by {company}; {money} in cash is on offer.",
        "For {money}, {company}'s owners will sell {thing} and the plant at {town} to {other}.",
    ],
    "RESULTS": [
        "{company} made {money} with {thing} last year, more than {town} expected of it.",
        "Revenue at {company} fell to {money} as {thing} sold badly until {day}.",
        "Profit of {money} on {day}: {company} beats its guidance for {thing}.",
    ],
    "OTHER": [
        "{company} opens an office in {town} and hires forty people for {thing} by {day}.",
        "A judge in {town} told {company} on {day} to stop selling {thing}.",
        "Nobody at {company} would say on {day} whether {thing} will ship to {town}.",
        "The fair in {town} opens on {day} with {thing} and 300 stands.",
    ],
}
_THINGS = [
    *(
        "wind-tunnel software",
        "quiet heat pumps",
        "oat cheese",
        "cargo bikes",
        "glass batteries",
        "tax robots",
    ),
    *("river barges", "school tablets", "sea-weed plastic", "ice sensors", "garden drones", "rail brakes"),
    *("hearing aids", "soft contact lenses"),
]
_TOWNS = [
    *("Oslo", "Bergen", "Turku", "Aarhus", "Malmö", "Gdansk", "Lübeck"),
    *("Riga", "Leeds", "Osaka", "Lagos", "Pune", "Tartu", "Cork"),
]
_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def deal(i: int) -> dict[str, Any]:
    """The line of a text by its number."""
    rng = random.Random(i)
    category = rng.choice(["FUNDING", "FUNDING", *_FRAMES])
    frame = rng.choice(_FRAMES[category])
    form = rng.choice([*_AMOUNTS, "${}m"])
    number = rng.randint(2, 900)
    unit, currency = _AMOUNTS[form]
    company, rival = rng.sample(COMPANIES, 2)
    investor, second = rng.sample(INVESTORS, 2)
    names = {
        "company": company,
        "investor": investor,
        "other": second if category == "FUNDING" else rival,
        "money": form.format(number),
    }
    words = {"thing": rng.choice(_THINGS), "town": rng.choice(_TOWNS), "day": rng.choice(_DAYS)}
    text, spans, places = "", [], {}
    for part in re.split(r"({\w+})", frame):
        key = part.strip("{}")
        if part.startswith("{") and key in names:
            places[key] = len(spans)
            span = {"start": len(text), "end": len(text) + len(names[key])}
            if key == "money":
                span |= {"label": "MONEY", "value": f"{number * unit} {currency}"}
            else:
                span |= {"label": "COMPANY", "kb_id": _IDS.get(names[key], "NIL")}
            spans.append(span)
        text += (names | words)[key] if part.startswith("{") else part
    relations = []
    if category == "FUNDING":
        relations = [
            {"head": places[key], "child": places["company"], "label": "INVESTOR"}
            for key in ("investor", "other")
            if key in places
        ]
        relations.append({"head": places["company"], "child": places["money"], "label": "RAISED"})
    return {
        "text": text,
        "spans": spans,
        "relations": relations,
        "cats": {name: int(name == category) for name in _FRAMES},
        "meta": {"id": f"deal-{i}", "writer": f"w{i % 4}", "date": f"2026-{1 + i % 12:02}-{1 + i % 28:02}"},
    }


def talk() -> dict[str, Any]:
    """The talk's sentence."""
    return {
        "text": TALK,
        "spans": [
            {"start": 0, "end": 5, "label": "COMPANY", "kb_id": "5923214"},
            {"start": 13, "end": 16, "label": "MONEY", "value": "5000000 USD"},
            {"start": 49, "end": 62, "label": "COMPANY", "kb_id": "1681056"},
        ],
        "relations": [
            {"head": 2, "child": 0, "label": "INVESTOR"},
            {"head": 0, "child": 1, "label": "RAISED"},
        ],
        "cats": {name: int(name == "FUNDING") for name in _FRAMES},
        "meta": {"id": "talk", "writer": "w0", "date": "2026-01-15"},
    }


def records(n: int, start: int = 0) -> list[Record]:
    """Texts by their numbers."""
    return [Record(**deal(i)) for i in range(start, start + n)]


def write_companies(path: Path) -> Path:
    """The table of companies, as a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        rows.writeheader()
        rows.writerows(TABLE)
    return path
