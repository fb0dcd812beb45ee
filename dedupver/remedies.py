"""What would have to change for a record's decision to be the opposite one, from all that resembles it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Rival = Mapping[str, Any]

SHOWN: Final = 5
"""So many of the nearest are told."""


def droppers(rivals: Iterable[Rival]) -> list[Rival]:
    """Return the kept records that drop one under the present rules and reviews."""
    return [rival for rival in rivals if rival["action"] == "keep" and rival["before"] and _joined(rival)]


def followers(rivals: Iterable[Rival]) -> list[Rival]:
    """Return the kept records that would be dropped for one if it were kept."""
    return [rival for rival in rivals if rival["action"] == "keep" and not rival["before"] and _joined(rival)]


def opposite(decision: Mapping[str, Any], rivals: Sequence[Rival]) -> dict[str, Any]:
    """Return what a dropped record needs to be kept, or a kept one to be dropped.

    A dropped record: `for` lists the kept that drop it; `reviews` the pairs that a person would call different;
    `thresholds` are those above whose values none of them does so any more, and `thresholds_alone` those above whose
    values no other record does, dropped ones included (null: equal contents, or the word of a person). A kept one:
    `nearest` lists kept records by how little is lacking, and `parted` those that a review alone keeps from it.
    """
    if decision["action"] == "drop":
        mine = droppers(rivals)
        every = [each for each in rivals if each["before"] and _joined(each)]
        return {
            "for": mine,
            "reviews": [[decision["id"], each["id"]] for each in mine],
            "thresholds": _all_away(mine),
            "thresholds_alone": _all_away(every),
        }
    kept = [each for each in rivals if each["action"] == "keep"]
    near = [each for each in kept if each["near"] and each["review"] is None]
    return {
        "nearest": sorted(near, key=lambda each: (-min(each["near"].values()), each["id"]))[:SHOWN],
        "parted": [each for each in kept if each["rule"] and each["review"] == "different"],
        "together": [each for each in kept if each["rule"] and each["review"] is None],
    }


def in_words(
    decision: Mapping[str, Any], found: Mapping[str, Any], settings: Mapping[str, Any], version: str
) -> list[str]:
    """Return what `opposite` found as sentences; `settings` are those of `dedup`, `version` is the newest one."""
    if decision["action"] == "drop":
        return list(_of_dropped(decision, found, settings, version))
    return list(_of_kept(decision, found))


def _of_dropped(
    decision: Mapping[str, Any], found: Mapping[str, Any], settings: Mapping[str, Any], version: str
) -> Iterator[str]:
    name, file = decision["id"], settings.get("reviews", "reviews.csv")
    for each in found["for"]:
        yield f"{each['id']} drops it: {_why(each)}"
    if decision["reason"] == "repeated_part":
        yield f"a greater number in `dedup.caps` than that of {decision['rule']}"
        return
    joined = [each["id"] for each in found["for"] if each["review"] == "same"]
    if joined:
        yield f"remove the line that calls it the same as {' and '.join(joined)} from {file}"
    if found["reviews"]:
        lines = " and ".join(f"`{left},{right},different`" for left, right in found["reviews"])
        yield f"`dedupver undo {name}` keeps it: {lines} in {file}"
    again = settings.get("history") == "frozen" and decision["decided"] != version
    frozen = (
        f", with `dedup.history: rejudge`, since {decision['decided']} decided and history is frozen" if again else ""
    )
    alone, enough = found["thresholds_alone"], found["thresholds"]
    if enough:
        yield f"{_bounds(enough, 'above')} keeps it as the others stand{frozen}"
    elif found["for"] and not joined:
        yield "no threshold does: they are alike to the last digit"
    if alone and alone != enough:
        yield f"{_bounds(alone, 'above')} keeps it whatever becomes of others that are dropped now{frozen}"


def _of_kept(decision: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    for each in found["parted"]:
        yield f"but for the review, {each['id']} is its duplicate ({_why(each)}), and {_goes(decision, each)}"
    for each in found["together"]:
        yield (
            f"{each['id']} is its duplicate under these rules ({_why(each)}), but both are protected, or were "
            f"published and history is frozen: judged again (`dedup.history: rejudge`), {_goes(decision, each)}"
        )
    for each in found["nearest"]:
        bounds = _bounds(each["near"], "at most")
        yield (
            f"nearest is {each['id']} ({_evidence(each)}): with {bounds} the two are duplicates, "
            f"and {_goes(decision, each)}"
        )
    if not any(found.values()):
        yield "no kept record resembles it at or above the floors of `match.floor`: no threshold drops it, a review may"


def _goes(decision: Mapping[str, Any], rival: Rival) -> str:
    """Return which of the two is dropped, being judged after the other."""
    return f"{decision['id'] if rival['before'] else rival['id']} goes"


def _joined(rival: Rival) -> bool:
    """Return whether rules, or the word of a person, call two records duplicates."""
    return bool(rival["review"] == "same" or (rival["rule"] and rival["review"] is None))


def _all_away(rivals: Iterable[Rival]) -> dict[str, float] | None:
    found: dict[str, float] = {}
    for each in rivals:
        if each["away"] is None or each["review"] == "same":
            return None
        for setting, value in each["away"].items():
            found[setting] = max(value, found.get(setting, value))
    return found or None


def _why(rival: Rival) -> str:
    return "a review says so" if rival["review"] == "same" else f"{rival['rule']}, {_evidence(rival)}"


def _evidence(rival: Rival) -> str:
    return ",".join(
        f"{word}={'exact' if '.' not in word else format(score, '.6g')}" for word, score in rival["known"].items()
    )


def _bounds(bounds: Mapping[str, float], how: str) -> str:
    return " and ".join(f"`{setting}` {how} {value:.6g}" for setting, value in bounds.items())
