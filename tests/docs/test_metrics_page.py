"""The page on metrics lists every metric that there is, as the code has it."""

from pathlib import Path

from fornada.metrics.instrument import Role
from fornada.metrics.instruments import INSTRUMENTS

_PAGE = Path(__file__).parents[2] / "docs/operations/metrics.md"
_SERVED_BY = {Role.WORKER: "worker", Role.SUPERVISOR: "worker", Role.GATEWAY: "gateway"}


def test_each_metric_is_on_the_page_with_its_labels_and_meaning() -> None:
    expected = []
    for instrument in INSTRUMENTS:
        labels = ", ".join(f"`{label}`" for label in instrument.labels)
        served_by = ", ".join(sorted({_SERVED_BY[role] for role in instrument.roles}, reverse=True))
        expected.append(
            f"| `{instrument.name}` | {instrument.kind} | {labels} | {served_by} | "
            f"{instrument.text} |"
        )

    page = _PAGE.read_text(encoding="utf-8")
    table = page.partition("| Metric |")[2].partition("\n\n")[0]

    assert expected == table.splitlines()[2:]
