"""Trying models from the page."""

import io
import re

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ....photos import encoded, png_that_declares, scene
from .conftest import form_token_in
from .stage import CLASSES, Stage, digits


def _try(
    visitor: TestClient, files: dict[str, bytes] | None = None, **form: str
) -> tuple[int, str]:
    token = form_token_in(visitor.get("/try").text)
    parts = [("files", (name, data)) for name, data in (files or {"": b""}).items()]
    answer = visitor.post("/try", data={"form_token": token, **form}, files=parts)
    return answer.status_code, answer.text


def test_dropped_images_are_predicted_as_the_client_does(visitor: TestClient, stage: Stage) -> None:
    images, _ = digits()
    files = {
        f"{n}.png": encoded(Image.fromarray(image), "PNG") for n, image in enumerate(images[:3])
    }

    status, page = _try(visitor, files, model="digits@prod")

    expected = stage.client.predict(images[:3], model="digits@prod").argmax(axis=1)
    assert (200, [CLASSES[n] for n in expected]) == (
        status,
        re.findall(r'<p class="label">(.*?)</p>', page),
    )
    assert 3 == len(re.findall(r'src="data:image/png;base64,', page))


def test_two_versions_are_shown_side_by_side(visitor: TestClient) -> None:
    image = encoded(Image.fromarray(digits()[0][0]), "PNG")

    _, page = _try(visitor, {"a.png": image}, model="digits:2", beside="digits:1")

    assert ["digits:2", "digits:1"] == re.findall(r"<h3>(.*?)</h3>", page)


def test_a_broken_image_fails_alone(visitor: TestClient) -> None:
    image = encoded(Image.fromarray(digits()[0][0]), "PNG")
    files = {
        "good.png": image,
        "half.png": image[:99],
        "bomb.png": png_that_declares(50_000, 50_000),
    }

    status, page = _try(visitor, files, model="digits@prod")

    assert (200, 1, 2) == (
        status,
        page.count('<p class="label">'),
        page.count('<p class="reason bad">'),
    )


def test_masks_and_boxes_are_drawn(visitor: TestClient) -> None:
    photo = encoded(Image.fromarray(scene(80, 60, channels=3)), "JPEG")

    _, page = _try(visitor, {"photo.jpg": photo}, model="cells@prod")

    assert re.search(r'<img class="large" src="data:image/(webp|png);base64,', page)


@pytest.mark.parametrize(
    ("model", "text", "shown"),
    [
        ("houses:1", '{"area": 80, "rooms": 3, "year": 1978}', ["286,200"]),
        ("houses:1", '[{"area": 80, "rooms": 3, "year": 1978}]', ["286,200"]),
        ("reviews:1", "Too small.\n\nWarm, and it fits, in all colours.", ["bad", "good"]),
    ],
)
def test_pasted_rows_are_predicted(
    visitor: TestClient, model: str, text: str, shown: list[str]
) -> None:
    status, page = _try(visitor, model=model, text=text)

    found = re.findall(r'<p class="label">(.*?)</p>|<dd>([\d,]+)</dd>', page)
    assert (200, shown) == (status, [label or value for label, value in found])


@pytest.mark.parametrize(
    ("form", "status", "said"),
    [
        ({"model": "houses:1", "text": "{"}, 400, "the row is no JSON"),
        ({"model": "houses:1", "text": '{"area": 1}'}, 200, "rooms"),
        ({"model": "houses:1"}, 400, "nothing was given"),
        ({"model": "hats", "text": "1"}, 404, "no model"),
        ({"model": "<script>", "text": "1"}, 400, "&lt;script&gt;"),
    ],
)
def test_what_makes_no_sense_is_said(
    visitor: TestClient, form: dict[str, str], status: int, said: str
) -> None:
    found, page = _try(visitor, **form)

    assert (status, True) == (found, said in page)


def test_a_part_of_the_page_has_the_results_alone(visitor: TestClient) -> None:
    token = form_token_in(visitor.get("/try").text)
    form = {"form_token": token, "model": "reviews:1", "text": "Good."}

    answer = visitor.post("/try?part=results", data=form, files={"files": ("", b"")})

    assert (200, False, True) == (
        answer.status_code,
        "<html" in answer.text,
        "<h2>1 result</h2>" in answer.text,
    )


def test_a_form_that_is_too_large_is_not_read(visitor: TestClient) -> None:
    answer = visitor.post("/logout", content=b"a" * 70_000)

    assert 413 == answer.status_code


def test_pictures_of_files_are_written_anew(visitor: TestClient) -> None:
    photo = io.BytesIO()
    comment = b"<script>alert(1)</script>"
    Image.new("RGB", (300, 200), (250, 99, 19)).save(photo, "JPEG", comment=comment)

    _, page = _try(visitor, {"photo.jpg": photo.getvalue()}, model="cells@prod")

    assert "data:image/webp;base64," in page
    assert "data:image/jpeg" not in page
