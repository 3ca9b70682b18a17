"""Pages of a job's items."""

import re

from fastapi.testclient import TestClient


def test_items_of_a_class_are_those_of_it_and_of_no_such_class_all(
    visitor: TestClient, jobs: dict[str, str]
) -> None:
    path = f"/jobs/{jobs['done']}/items"

    every, eights, coats = (
        visitor.get(f"{path}?label={label}").text for label in ("", "eight", "Coat")
    )

    headings = [re.findall(r"<h2>(.*?)</h2>", page)[0] for page in (every, eights, coats)]
    assert headings[0] == headings[2] == "The least certain of 600 items"
    assert re.fullmatch(r"\d+ items of class eight, the least certain first", headings[1])
    labels = re.findall(r"<figcaption>\s*<strong>(.*?)</strong>", eights)
    assert {"eight"} == set(labels)
