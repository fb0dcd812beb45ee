"""Splits over versions: a partition that keeps what is alike together and moves nobody, whatever comes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pytest
from decisions import digest, row
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dedupver.params import Params
from dedupver.schema import ASSIGNED, DECISION, HOT, MATCH
from dedupver.split import NOTHING, Earlier
from dedupver.split.assigned import KNOWN
from dedupver.split.bridges import MIXED, NONE, settle
from dedupver.split.divide import READ, Divided, divide
from dedupver.split.ties import held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dedupver.digests import Digests, Rows
    from dedupver.resolve.evidence import Scores

RATIOS = {"train": 0.8, "validation": 0.1, "test": 0.1}
Pair = tuple[str, str]


@dataclass
class Known:
    """An index that knows some pairs of contents: those within a hot group are not listed."""

    pairs: set[Pair]
    hot_groups: list[set[str]]
    names: list[str]

    def matches(self) -> Iterator[pa.RecordBatch]:
        """Return what is listed."""
        listed = [p for p in sorted(self.pairs) if not any(set(p) <= group for group in self.hot_groups)]
        rows = [{"kind": "text", "left": digest(b), "right": digest(a), "score": 0.9} for a, b in listed]
        yield from pa.Table.from_pylist(rows, schema=MATCH).to_batches()

    def hot(self) -> Iterator[pa.RecordBatch]:
        """Return who is in hot groups."""
        rows = [
            {"kind": "text", "group": number, "content": digest(name)}
            for number, group in enumerate(self.hot_groups)
            for name in sorted(group)
        ]
        yield from pa.Table.from_pylist(rows, schema=HOT).to_batches()

    def fits(self) -> Iterator[pa.RecordBatch]:
        """Return nothing."""
        return iter(())

    def scorer(self, _: str, contents: Digests) -> Callable[[Rows, Rows, float], Scores]:
        """Return what looks pairs up."""
        known = {digest(name): name for name in self.names}
        mine = [known[bytes(each)] for each in contents]

        def score(left: Rows, right: Rows, _: float) -> Scores:
            ends = zip(left.tolist(), right.tolist(), strict=True)
            near = [tuple(sorted((mine[a], mine[b]))) in self.pairs for a, b in ends]
            return np.array(near, np.float32) * np.float32(0.9)

        return score


def version(rows: list[dict[str, Any]], index: Known, earlier: Earlier, name: str, **split: Any) -> Divided:
    """Divide one version."""
    live = pa.Table.from_pylist(rows, schema=DECISION).sort_by("id").select(READ)
    given = Params.model_validate({"version": {"name": name}, "split": {"ratios": RATIOS, "together": [], **split}})
    return divide(live, held(live, index, [], given), earlier, ["v1", "v2", "v3"], given)


def then(earlier: Earlier, name: str, found: Divided) -> Earlier:
    """Return what was assigned up to a version."""
    assert found.fresh is not None
    assert found.fresh.schema == ASSIGNED
    return Earlier((*earlier.versions, name), pa.concat_tables([earlier.table, found.fresh.select(KNOWN)]))


def splits_of(found: Divided) -> dict[str, str | None]:
    """Return the split of each kept record."""
    return dict(zip(found.kept["id"].to_pylist(), found.kept["split"].to_pylist(), strict=True))


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[list[dict[str, Any]]], Known]:
    """Draw three versions of up to 14 records: who is kept, who is alike, who leaves, and what each is."""
    count = draw(st.integers(1, 14))
    names = [f"r{at:02}" for at in range(count)]
    pairs = {pair for pair in itertools.combinations(names, 2) if draw(st.integers(0, 7)) == 0}
    hot = draw(st.lists(st.sets(st.sampled_from(names), min_size=2), max_size=2)) if count > 1 else []
    born = {name: draw(st.integers(1, 3)) for name in names}
    gone = {name: draw(st.sampled_from([9, 9, 9, 2, 3])) for name in names}
    said = {
        name: {
            "action": draw(st.sampled_from(["keep", "keep", "drop"])),
            "label": draw(st.sampled_from(["a", "b", None])),
            "source": draw(st.sampled_from(["x", "y", "z", None, None])),
            "split": draw(st.sampled_from([None, None, None, "test", "train", "dev"])),
            "version": f"v{born[name]}",
        }
        for name in names
    }
    versions = [[row(name, **said[name]) for name in names if born[name] <= at < gone[name]] for at in (1, 2, 3)]
    return versions, Known(pairs, hot, names)


def graph_of(rows: list[dict[str, Any]], index: Known, group: str | None) -> nx.Graph[Any]:
    """Return records and groups, and what ties them."""
    there = {each["id"]: each for each in rows}
    graph: nx.Graph[Any] = nx.Graph()
    graph.add_nodes_from(there)
    graph.add_edges_from(pair for pair in index.pairs if set(pair) <= there.keys())
    if group:
        graph.add_edges_from((n, ("group", r[group])) for n, r in there.items() if r[group] is not None)
    return graph


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.sampled_from([None, "source"]), st.sampled_from(["keep", "ignore"]), st.integers(0, 3))
def test_over_versions(
    drawn: tuple[list[list[dict[str, Any]]], Known], group: str | None, gives: str, seed: int
) -> None:
    """One split each, nothing tied across splits, nobody moved; who is put aside ties two, and is named with both."""
    versions, index = drawn
    earlier, before = NOTHING, dict[str, str | None]()
    for number, rows in enumerate(versions, start=1):
        found = version(rows, index, earlier, f"v{number}", group=group, given=gives, seed=seed)
        splits = splits_of(found)
        assert splits.keys() == {each["id"] for each in rows if each["action"] == "keep"}
        exceptions = found.exceptions.to_pylist()
        aside = {each["id"]: set(each["others"]) for each in exceptions if each["case"] == "bridge"}
        assert {name for name, split in splits.items() if split is None} == aside.keys() & splits.keys()
        assert not [each for each in exceptions if each["case"] == "straddles"]  # nothing old came to be tied
        graph = graph_of(rows, index, group)
        whole = graph.subgraph(graph.nodes - aside.keys())
        for component in nx.connected_components(whole):
            assert len({splits[name] for name in component if splits.get(name)}) <= 1
        known = {**before, **{name: split for name, split in splits.items() if split}}
        for name, others in aside.items():
            near = [c for c in nx.connected_components(whole) if c & set(graph[name])]
            met = {known[each] for c in near for each in c if known.get(each)}
            own = {
                r["split"] for r in rows if r["id"] == name and r["split"] and gives == "keep" and r["action"] == "keep"
            }
            assert len(met | own) > 1
            assert others <= met | own
            assert len(others) > 1
        for name, split in before.items():
            assert splits.get(name, split) == split
        earlier = then(earlier, f"v{number}", found)
        assert len(set(earlier.table["id"].to_pylist())) == earlier.table.num_rows
        before |= {name: split for name, split in splits.items() if split}
        assert dict(zip(*earlier.table.select(["id", "split"]).to_pydict().values(), strict=True)) == before


@settings(max_examples=50)
@given(histories(), st.randoms())
def test_input_order_changes_nothing(drawn: tuple[list[list[dict[str, Any]]], Known], random: Any) -> None:
    """Records and hot groups in another order give the same bytes."""
    (rows, *_), index = drawn
    found = version(rows, index, NOTHING, "v1")
    shuffled, groups = list(rows), list(index.hot_groups)
    random.shuffle(shuffled)
    random.shuffle(groups)
    again = version(shuffled, Known(index.pairs, groups, index.names), NOTHING, "v1")
    assert again.fresh == found.fresh
    assert again.exceptions == found.exceptions


def alone(count: int, first: int = 0, **said: Any) -> list[dict[str, Any]]:
    """Return records that nothing ties."""
    return [row(f"s{first + at:04}", **said) for at in range(count)]


def nothing(rows: list[dict[str, Any]]) -> Known:
    """Return an index that knows no pair."""
    return Known(set(), [], [each["id"] for each in rows])


def test_newcomers_restore_the_proportions() -> None:
    """A version's ratios hold for all records, those of before included, as soon as there are newcomers enough."""
    first = alone(100, label="a")
    one = version(first, nothing(first), NOTHING, "v1", ratios={"train": 0.5, "test": 0.5})
    rows = [*first, *alone(100, 100, label="a", version="v2")]
    two = version(rows, nothing(rows), then(NOTHING, "v1", one), "v2", ratios={"train": 0.75, "test": 0.25})
    assert sorted(splits_of(two).values()).count("train") == 150
    three = version(rows, nothing(rows), then(NOTHING, "v1", one), "v2", ratios={"train": 0.1, "test": 0.9})
    assert sorted(splits_of(three).values()).count("train") == 50  # none of them moves, no newcomer joins them


def test_another_seed_gives_another_split_of_the_same_sizes() -> None:
    """And a record's place among the others does not matter: half of the records fall as they fell among all."""
    rows = alone(200, label="a")
    found = [splits_of(version(rows, nothing(rows), NOTHING, "v1", seed=seed)) for seed in (1, 1, 2)]
    assert found[0] == found[1] != found[2]
    assert [sorted(each.values()) for each in found] == [sorted(found[0].values())] * 3
    assert list(found[0].values()).count("train") == 160


def bridged(**said: Any) -> Divided:
    """Return v2 after a (train) and b (test): n ties the two, m is tied to n alone."""
    before = pa.Table.from_pylist(
        [
            {
                "id": name,
                "split": split,
                "why": "balanced",
                "stratum": "[null]",
                "unit": name,
                "content": digest(name),
                "version": "v1",
            }
            for name, split in (("a", "train"), ("b", "test"))
        ],
        schema=ASSIGNED,
    )
    rows = [row("a"), row("b"), row("n", version="v2", **said), row("m", version="v2")]
    index = Known({("a", "n"), ("b", "n"), ("m", "n")}, [], ["a", "b", "m", "n"])
    return version(rows, index, Earlier(("v1",), before), "v2")


def test_a_newcomer_that_ties_two_splits_is_in_none() -> None:
    """It is named with both; who is alike to it alone is not held by it."""
    found = bridged()
    assert {k: v for k, v in splits_of(found).items() if k != "m"} == {"a": "train", "b": "test", "n": None}
    assert splits_of(found)["m"] is not None
    [named] = found.exceptions.to_pylist()
    assert named == {"id": "n", "action": "keep", "case": "bridge", "split": None, "others": ["test", "train"]}


def test_a_dropped_one_that_ties_two_splits_is_named_and_moves_nobody() -> None:
    """It is in no dataset, so only the chain through it is cut."""
    found = bridged(action="drop", representative="a", reason="near_duplicate_of")
    assert {k: v for k, v in splits_of(found).items() if k != "m"} == {"a": "train", "b": "test"}
    assert [(each["id"], each["action"]) for each in found.exceptions.to_pylist()] == [("n", "drop")]


def test_what_came_to_be_alike_across_splits_is_named_and_stays() -> None:
    """A threshold that was lowered ties a and b, which two versions ago were not: both stay, one is named."""
    first = [row("a", split="train"), row("b", split="test")]
    one = version(first, Known(set(), [], ["a", "b"]), NOTHING, "v1")
    two = version(first, Known({("a", "b")}, [], ["a", "b"]), then(NOTHING, "v1", one), "v2")
    assert splits_of(two) == {"a": "train", "b": "test"}
    [named] = two.exceptions.to_pylist()
    assert (named["case"], len(named["others"])) == ("straddles", 1)
    anew = version(first, Known({("a", "b")}, [], ["a", "b"]), NOTHING, "v2", given="ignore")
    assert len(set(splits_of(anew).values())) == 1


def test_a_renamed_record_stays_in_its_split() -> None:
    """It is known by its content; so is a copy of it that comes back under another name."""
    first = alone(40)
    one = version(first, nothing(first), NOTHING, "v1")
    renamed = [row(f"new-{each['id']}", content=each["id"], version="v2") for each in first]
    two = version(renamed, nothing(first), then(NOTHING, "v1", one), "v2", seed=7)
    assert {name.removeprefix("new-"): split for name, split in splits_of(two).items()} == splits_of(one)


def test_an_edited_record_stays_in_its_split() -> None:
    """It is known by its id."""
    first = alone(40)
    one = version(first, nothing(first), NOTHING, "v1")
    edited = [row(each["id"], content=f"edited {each['id']}", version="v2") for each in first]
    index = Known(set(), [], [f"edited {each['id']}" for each in first])
    assert splits_of(version(edited, index, then(NOTHING, "v1", one), "v2", seed=7)) == splits_of(one)


def test_given_splits_stay_and_what_is_alike_follows() -> None:
    """A name of the data's own stays too; of two alike in two given splits the protected one stays."""
    rows = [row("a", split="test"), row("b"), row("c", split="dev"), row("d", split="train"), row("e", split="test")]
    index = Known({("a", "b"), ("d", "e")}, [], list("abcde"))
    found = version(rows, index, NOTHING, "v1")
    assert splits_of(found) == {"a": "test", "b": "test", "c": "dev", "d": None, "e": "test"}
    assert found.fresh is not None
    assert dict(zip(*found.fresh.select(["id", "why"]).to_pydict().values(), strict=True)) == {
        "a": "given",
        "b": "joined",
        "c": "given",
        "e": "given",
    }


@pytest.mark.parametrize("count", [1, 2, 5])
def test_more_splits_than_records(count: int) -> None:
    """Each record has one; a stratum of its own each is no matter."""
    rows = [each | {"label": each["id"]} for each in alone(count)]
    ratios = {f"s{at}": 0.1 for at in range(10)}
    assert None not in splits_of(version(rows, nothing(rows), NOTHING, "v1", ratios=ratios)).values()


def test_an_empty_version() -> None:
    """There is nothing to assign."""
    found = version([], nothing([]), NOTHING, "v1")
    assert [t.num_rows for t in (found.kept, found.fresh, found.exceptions) if t is not None] == [0, 0, 0]


def test_settling_by_hand() -> None:
    """0 and 1 lie in two splits; 2 ties them and goes; 3 joins 1, 4 hangs on 2 alone; 5 is mixed and stays."""
    order, near = [0, 1, 5, 2, 3, 4], {0: [2], 1: [2, 3], 2: [0, 1, 4], 3: [1], 4: [2], 5: []}
    own = {0: 0, 1: 1, 2: NONE, 3: NONE, 4: NONE, 5: MIXED}
    found = settle(order, own, {v: v in {0, 1, 5} for v in order}, near)
    assert found.aside == {2: {0, 1}}
    assert {v: found.split[root] for v, root in found.component.items()} == {0: 0, 1: 1, 3: 1, 4: NONE, 5: MIXED}
