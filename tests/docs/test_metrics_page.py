"""The page on metrics lists every metric as the code has it, and asks for no other."""

from pathlib import Path

from fornada.metrics.instrument import Role
from fornada.metrics.instruments import INSTRUMENTS, NAMES

from ..unit.deploy.queries import flaws

_PAGE = Path(__file__).parents[2] / "docs/operations/metrics.md"
_SERVED_BY = {Role.WORKER: "worker", Role.SUPERVISOR: "worker", Role.GATEWAY: "gateway"}


def _table(first_head: str) -> list[str]:
    page = _PAGE.read_text(encoding="utf-8")
    table = page.partition(f"| {first_head} |")[2].partition("\n\n")[0]
    return table.splitlines()[2:]


def test_each_metric_is_on_the_page_with_its_labels_and_meaning() -> None:
    expected = []
    for instrument in INSTRUMENTS:
        labels = ", ".join(f"`{label}`" for label in instrument.labels)
        served_by = ", ".join(sorted({_SERVED_BY[role] for role in instrument.roles}, reverse=True))
        expected.append(
            f"| `{instrument.name}` | {instrument.kind} | {labels} | {served_by} | "
            f"{instrument.text} |"
        )

    assert expected == _table("Metric")


def test_its_questions_ask_for_what_there_is() -> None:
    queries = [row.split("`")[1].replace(r"\|", "|") for row in _table("Question")]

    assert 6 == len(queries)
    assert [] == [flaw for query in queries for flaw in flaws(query, known=NAMES)]
