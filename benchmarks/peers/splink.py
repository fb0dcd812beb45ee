"""splink: Fellegi and Sunter's model, trained on the table alone, by expectation maximisation, as its documentation does.

python -P splink.py KIND TABLE.csv OUT.json COLUMN …   writes [[left, right, probability], …]; the columns are those compared

People have the comparisons and blocking rules of the documentation's example for FEBRL 4, and further columns one
comparison each; airports and cities have its comparisons for names and for places on the globe.
"""

import json
import sys
from pathlib import Path

import pandas as pd
import splink.comparison_library as cl
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

LEAST = 0.001  # probability of a pair that is written


def alike(column):
    """Compare a text by Jaro and Winkler's similarity, and equal ones by how frequent they are."""
    return cl.JaroWinklerAtThresholds(column, [0.9, 0.7]).configure(term_frequency_adjustments=True)


def equal(column):
    """Compare by equality, equal ones by how frequent they are."""
    return cl.ExactMatch(column).configure(term_frequency_adjustments=True)


def near(latitude, longitude):
    """Compare by kilometres."""
    return cl.DistanceInKMAtThresholds(latitude, longitude, [0.1, 1, 5, 25])


COMPARISONS = {
    "people": {
        "given_name": cl.NameComparison("given_name").configure(term_frequency_adjustments=True),
        "surname": cl.NameComparison("surname").configure(term_frequency_adjustments=True),
        "date_of_birth": cl.DateOfBirthComparison(
            "date_of_birth", input_is_string=True, datetime_format="%Y%m%d", invalid_dates_as_null=True
        ),
        "soc_sec_id": cl.DamerauLevenshteinAtThresholds("soc_sec_id", [1, 2]),
        "street_number": equal("street_number"),
        "postcode": cl.DamerauLevenshteinAtThresholds("postcode", [1, 2]).configure(term_frequency_adjustments=True),
        # which its documentation leaves out, for they go with the postcode
        "address_1": cl.JaroWinklerAtThresholds("address_1", [0.9, 0.7]),
        "address_2": cl.JaroWinklerAtThresholds("address_2", [0.9, 0.7]),
        "suburb": cl.JaroWinklerAtThresholds("suburb", [0.9, 0.7]),
        "state": cl.ExactMatch("state"),
    },
    "airports": {
        "name": alike("name"),
        "city": alike("city"),
        "subd": alike("subd"),
        "country": equal("country"),
        "lat": near("lat", "lon"),
    },
    "cities": {
        "name": alike("name"),
        "countrycode": equal("countrycode"),
        "admin1code": equal("admin1code"),
        "latitude": near("latitude", "longitude"),
    },
}
BLOCKS = {
    "people": (
        ("given_name", "surname"),
        ("date_of_birth",),
        ("soc_sec_id",),
        ("state", "address_1"),
        ("street_number", "address_1"),
        ("postcode",),
        "l.given_name = r.surname and l.surname = r.given_name",
    ),
    "airports": (("name",), ("city", "country"), ("round(lat, 1)", "round(lon, 1)")),
    "cities": (("name",), ("round(latitude, 1)", "round(longitude, 1)")),
}
CERTAIN = {
    "people": (("soc_sec_id",), ("given_name", "surname", "date_of_birth"), ("surname", "date_of_birth", "postcode")),
    "airports": (("name", "city", "country"),),
    "cities": (("name", "countrycode", "admin1code"),),
}
TRAINED = {
    "people": (("date_of_birth",), ("postcode",)),
    "airports": (("name",), ("round(lat, 1)", "round(lon, 1)")),
    "cities": (("name",), ("round(latitude, 1)", "round(longitude, 1)")),
}

kind, table, out, *columns = sys.argv[1:]
numbers = dict.fromkeys(("lat", "lon", "latitude", "longitude"), float)
rows = pd.read_csv(table, dtype=str, keep_default_na=False, na_values=[""])
rows = rows.astype({name: of for name, of in numbers.items() if name in rows.columns})


def rules(of):
    """Return the rules whose columns there are."""
    known = [rule for rule in of if isinstance(rule, str) or "(" in rule[0] or set(rule) <= set(rows.columns)]
    return [rule if isinstance(rule, str) else block_on(*rule) for rule in known]


settings = SettingsCreator(
    unique_id_column_name="id",
    link_type="dedupe_only",
    blocking_rules_to_generate_predictions=rules(BLOCKS[kind]),
    comparisons=[COMPARISONS[kind][column] for column in columns if column in COMPARISONS[kind]],
)
linker = Linker(rows, settings, DuckDBAPI())
linker.training.estimate_probability_two_random_records_match(rules(CERTAIN[kind]), recall=0.8)
linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
for rule in rules(TRAINED[kind]):
    linker.training.estimate_parameters_using_expectation_maximisation(rule, estimate_without_term_frequencies=True)
found = linker.inference.predict(threshold_match_probability=LEAST).as_pandas_dataframe()
pairs = found[["id_l", "id_r", "match_probability"]].to_numpy().tolist()
Path(out).write_text(json.dumps(pairs), encoding="utf-8")
