"""Metrics as a scraper sees them."""

from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

Labels = dict[str, str]


class Scraped:
    """The samples of one scrape."""

    def __init__(self, text: str) -> None:
        self.families = {each.name: each for each in text_string_to_metric_families(text)}

    def samples(self, name: str, **labels: str) -> Iterator[tuple[Labels, float]]:
        """The samples of this name that have these labels, with all that they have."""
        for family in self.families.values():
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    yield sample.labels, sample.value

    def value(self, name: str, **labels: str) -> float:
        """The sum of these samples."""
        return sum(value for _, value in self.samples(name, **labels))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """These samples by the value of one label."""
        return {found[label]: value for found, value in self.samples(name, **labels)}


def scrape(url: str) -> Scraped:
    """What is served there."""
    with urlopen(url, timeout=10) as answer:
        return Scraped(answer.read().decode())


def metrics_url(log: Path) -> str | None:
    """Where the process of this log serves its metrics, once it does."""
    lines = [line for line in log.read_text().splitlines() if "metrics served" in line]
    return lines[-1].partition('"url": "')[2].partition('"')[0] if lines else None
