"""Numbers, times and names as pages show them."""

from collections.abc import Sequence
from datetime import datetime

from fornada.figures.shown import PredictedFigures
from fornada.records import now

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_KIB = 1024
_MAX_NAME_LENGTH, _MAX_TEXT_LENGTH = 40, 200
#: Stands in for a missing number.
NOTHING = "—"


def number(value: float | None, form: str = ",") -> str:
    """`1,234`; a dash for nothing."""
    return NOTHING if value is None else format(value, form)


def metric(value: float | None) -> str:
    """A metric of any size: `0.8837`, `23,510`; a dash for nothing."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"  # noqa: PLR2004 - four digits


def counted(count: int, noun: str) -> str:
    """`1 shard`, `1,200 shards`, `2 processes`."""
    several = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}{'' if count == 1 else several}"


def rate(per_s: float | None) -> str:
    """`1,234`, or `0.25` where it is small; a dash for nothing."""
    if per_s is None:
        return NOTHING
    return f"{per_s:,.0f}" if per_s >= 10 else f"{per_s:,.2g}"  # noqa: PLR2004 - two digits


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as `88.7%`; a dash where there is none."""
    return NOTHING if share is None else f"{share:.{decimals}%}"


def duration(duration_s: float | None) -> str:
    """`8.2 ms`, `3.4 s`, `5 min 3 s`, `2 h 5 min`, `3 d 4 h`; a dash for nothing."""
    if duration_s is None:
        return NOTHING
    if duration_s < 1:
        return f"{duration_s * 1000:.3g} ms"
    if duration_s < _MINUTE_S:
        return f"{duration_s:.1f} s"
    whole = round(duration_s)
    for unit_s, unit, part_s, part in (
        (_DAY_S, "d", _HOUR_S, "h"),
        (_HOUR_S, "h", _MINUTE_S, "min"),
        (_MINUTE_S, "min", 1, "s"),
    ):
        if whole >= unit_s:
            rest = whole % unit_s // part_s
            return f"{whole // unit_s} {unit}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"


def relative(at: datetime | None, since: datetime | None = None) -> str:
    """`3 min ago`, `in 2 h`; a dash for nothing."""
    if at is None:
        return NOTHING
    passed_s = ((since or now()) - at).total_seconds()
    if abs(passed_s) < 1:
        return "now"
    words = _coarse(abs(passed_s))
    return f"{words} ago" if passed_s > 0 else f"in {words}"


def utc(at: datetime | None, form: str = "%Y-%m-%d %H:%M:%S UTC") -> str:
    """`2026-11-29 14:20:00 UTC`."""
    return NOTHING if at is None else f"{at:{form}}"


def size(size_bytes: float | None) -> str:
    """`12 KiB`."""
    if size_bytes is None:
        return NOTHING
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size_bytes < _KIB:
            return f"{size_bytes:,.0f} {unit}" if unit == "bytes" else f"{size_bytes:.3g} {unit}"
        size_bytes /= _KIB
    return f"{size_bytes:.3g} TiB"


def short(name: object, longest: int = _MAX_NAME_LENGTH) -> str:
    """A name, cut to the width of a cell."""
    return _cut(str(name), longest)


def shown(value: object) -> str:
    """A value of any kind, cut to the width of a page."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if isinstance(value, float):
        return metric(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _cut(NOTHING if value is None or value == "" else str(value), _MAX_TEXT_LENGTH)


def plain(value: object) -> str:
    """A value as somebody gave it: a year has no separators."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return f"{value:.6g}" if isinstance(value, float) else shown(value)


def shape(sides: Sequence[int | None]) -> str:
    """The axes of an item, as people write them; an open axis is `any`."""
    axes = ("any" if side is None else f"{side}" for side in sides)
    return " \N{MULTIPLICATION SIGN} ".join(axes) or "one number"


def class_shares(predicted: PredictedFigures) -> list[tuple[str, int, float]]:
    """Each class with its items and their share."""
    total = max(1, predicted.items)
    return [(each.name, each.items, each.items / total) for each in predicted.classes]


def _coarse(duration_s: float) -> str:
    for unit_s, unit in ((_DAY_S, "d"), (_HOUR_S, "h"), (_MINUTE_S, "min")):
        if duration_s >= unit_s:
            return f"{duration_s // unit_s:.0f} {unit}"
    return f"{duration_s:.0f} s"


def _cut(whole: str, longest: int) -> str:
    return whole if len(whole) <= longest else f"{whole[: longest - 1]}…"
