"""The console in a browser. `FORNADA_SCREENSHOTS=folder` keeps pictures of the pages."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from ....photos import encoded
from .browsers import OpenPage, barriers_on, chromium, complaints_of, served
from .stage import Stage, digits

# Read at import: the environment of tests is emptied.
_SCREENSHOTS = os.environ.get("FORNADA_SCREENSHOTS")
_HEIGHT = 900
#: Pages by name; those of the stage's jobs by what these show.
_PAGES = {
    "jobs": "/",
    "job": "/jobs/{done}",
    "running": "/jobs/{running}",
    "queued": "/jobs/{queued}",
    "failed": "/jobs/{photos}",
    "table": "/jobs/{table}",
    "items": "/jobs/{done}/items?label=eight",
    "failed-items": "/jobs/{photos}/items?order=failed",
    "item": "/jobs/{photos}/items/20",
    "text": "/jobs/{texts}/items/0",
    "row": "/jobs/{table}/items/2",
    "shard": "/jobs/{photos}/shards/1",
    "drift": "/jobs/{cancelled}/drift?against={done}",
    "no-drift": "/jobs/{photos}/drift",
    "cancel": "/jobs/{queued}/cancel",
    "verify": "/jobs/{done}/verify",
    "models": "/models",
    "model": "/models/digits",
    "version": "/models/digits/2",
    "compare": "/models/digits/compare?first=1&second=2",
    "promote": "/models/digits/promote?version=1",
    "roll-back": "/models/digits/roll-back?alias=prod",
    "try": "/try?model=digits@prod",
    "try-row": "/try?model=houses:1&beside=houses:1",
    "workers": "/workers",
    "api": "/docs",
    "endpoint": "/docs#submit_job",
}


#: Name, path, width, height, and whether dark, of the pictures in docs/images.
_PICTURES = [
    ("console-jobs", "/", 1200, 700, False),
    ("console-job", "/jobs/{running}", 1200, 1240, False),
    ("console-failed", "/jobs/{photos}/items?order=failed", 1200, 820, False),
    ("console-items", "/jobs/{done}/items", 1200, 720, True),
    ("console-mask", "/jobs/{photos}/items/20", 1200, 640, False),
    ("console-drift", "/jobs/{cancelled}/drift?against={done}", 1200, 700, False),
    ("console-try", "/try?model=digits@prod&beside=digits:1", 1200, 900, False),
    ("console-model", "/models/digits", 1200, 640, False),
    ("console-phone", "/jobs/{running}", 400, 860, True),
]


@pytest.fixture(scope="module")
def address(app: FastAPI, jobs: dict[str, str]) -> Iterator[str]:
    """Where the gateway is."""
    with served(app) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A browser."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser, address: str, key_of: Callable[..., str]) -> Iterator[OpenPage]:
    """Opens pages for a user who has logged in."""
    contexts = []

    def open_one(*, width: int = 1280, dark: bool = False, scripts: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": _HEIGHT},
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            base_url=address,
        )
        contexts.append(context)
        page = context.new_page()
        page.goto("/login")
        page.get_by_label("API key").fill(key_of())
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_title("Jobs · Fornada")
        return page

    yield open_one
    for context in contexts:
        context.close()


def test_a_job_is_followed_from_the_list_to_its_end(open_page: OpenPage, stage: Stage) -> None:
    stage.waiting.clear()
    stage.on_hold.add("digits")
    job_id = stage.submit(digits()[0][:60], model="digits@prod", items_per_shard=5)
    page = open_page()
    complaints = complaints_of(page)

    page.get_by_role("link", name=job_id[:20]).click()
    expect(page.locator(".heading .state")).to_have_text("Queued")
    for message in stage.waiting[:6]:
        stage.run(message)
    expect(page.locator(".tiles")).to_contain_text("of 12")
    expect(page.locator(".legend .shard-d b")).to_have_text("6")
    for message in stage.waiting[6:]:
        stage.run(message)
    expect(page.locator(".heading .state")).to_have_text("Succeeded")
    expect(page.locator("#gallery figure")).to_have_count(8)

    said = page.request.get(f"/v1/jobs/{job_id}").json()
    assert ("SUCCEEDED", 60) == (said["state"], said["counts"]["ok"])
    assert 1 < _colours_of_the_map(page)
    assert [] == barriers_on(page)
    assert [] == [each for each in complaints if "404" not in each]


@pytest.mark.slow
def test_dropped_files_are_predicted_without_leaving_the_page(open_page: OpenPage) -> None:
    page = open_page()
    page.goto("/try?model=digits@prod&beside=digits:1")
    picture = list(encoded(Image.fromarray(digits()[0][0]), "PNG"))

    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            const file = new File([new Uint8Array(bytes)], "shoe.png", { type: "image/png" });
            transfer.items.add(file);
            return transfer;
        }""",
        picture,
    )
    page.locator("[data-drop]").dispatch_event("drop", {"dataTransfer": transfer})

    expect(page.get_by_role("heading", name="1 result")).to_be_visible()
    expect(page.locator(".tried h3")).to_have_text(["digits:2", "digits:1"])
    assert [] == barriers_on(page)


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True])
def test_every_page_is_open_to_everybody(
    open_page: OpenPage, jobs: dict[str, str], width: int, *, dark: bool
) -> None:
    page = open_page(width=width, dark=dark)
    complaints = complaints_of(page)

    for name, path in _PAGES.items():
        page.goto(path.format(**jobs), wait_until="networkidle" if "{" not in path else "load")
        expect(page.locator("h1")).to_have_count(1)
        assert [] == barriers_on(page), name
        wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wider <= 0, name

    # Broken photographs have no picture, and the browser says so.
    assert [] == [each for each in complaints if "404" not in each]


@pytest.mark.slow
def test_pages_work_without_scripts(open_page: OpenPage, stage: Stage) -> None:
    stage.on_hold.add("reviews")
    job_id = stage.submit(["a text"], model="reviews@prod")
    stage.on_hold.discard("reviews")
    page = open_page(scripts=False)

    page.get_by_label("State").select_option("QUEUED")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name=job_id[:20]).click()
    page.get_by_role("link", name="Cancel…").click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".heading .state")).to_have_text("Cancelled")
    page.get_by_role("link", name="Try it").click()
    page.get_by_label("Model", exact=True).select_option("digits@prod")
    page.get_by_role("button", name="Choose", exact=True).click()
    picture = encoded(Image.fromarray(digits()[0][0]), "PNG")
    page.get_by_label("Choose images").set_input_files(
        {"name": "shoe.png", "mimeType": "image/png", "buffer": picture}
    )
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("heading", name="1 result")).to_be_visible()


@pytest.mark.slow
def test_the_keyboard_reaches_everything(open_page: OpenPage, jobs: dict[str, str]) -> None:
    page = open_page()
    page.goto(f"/jobs/{jobs['running']}")

    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    seen = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate("(document.activeElement.id || document.activeElement.innerText).trim()")
        )
    assert {"Cancel…", "Download", "shard", "Show", "by"} <= seen


@pytest.mark.slow
def test_a_square_of_the_map_opens_its_shard(open_page: OpenPage, jobs: dict[str, str]) -> None:
    page = open_page()
    page.goto(f"/jobs/{jobs['running']}")
    square = page.locator(".map canvas")
    expect(square).to_be_visible()
    page.wait_for_function("document.querySelector('.map canvas').height > 1")

    square.hover(position={"x": 40, "y": 5})
    expect(page.locator("[data-pointed]")).to_have_text("Shard 2: done")
    page.get_by_label("Colour by").select_option("seconds")
    expect(page.locator("[data-pointed]")).to_have_text("One square a shard, in order.")
    square.click(position={"x": 40, "y": 5})

    expect(page).to_have_title(f"Shard 2 of {jobs['running']} · Fornada")


@pytest.mark.slow
def test_the_page_of_another_site_can_do_nothing(
    open_page: OpenPage, address: str, stage: Stage, jobs: dict[str, str]
) -> None:
    page = open_page()
    evil = FastAPI()
    evil.get("/", response_class=HTMLResponse)(lambda: "<!doctype html><title>evil</title>")

    with served(evil) as elsewhere:
        # Another name of the same machine is another site.
        other_site = elsewhere.replace("127.0.0.1", "localhost")
        cancel = f"/jobs/{jobs['queued']}/cancel"
        for path in (cancel, "/models/digits/promote", "/logout", "/login", "/try"):
            page.goto(other_site)
            page.set_content(
                f'<form method="post" action="{address}{path}"><button>Win</button></form>'
            )
            with page.expect_response(lambda found: found.request.method == "POST") as answer:
                page.get_by_role("button").click()
            assert 403 == answer.value.status, path
        page.goto(other_site)
        read = page.evaluate(
            """address => fetch(address, { credentials: "include" })
                .then(() => "read", () => "refused")""",
            f"{address}/v1/jobs",
        )
        page.set_content(f'<iframe src="{address}/"></iframe>')
        framed = page.frames[-1].title()

    page.goto(address)
    expect(page).to_have_title("Jobs · Fornada")
    assert ("refused", None) == (read, stage.jobs.final(jobs["queued"]))
    assert "Jobs" not in framed


@pytest.mark.slow
def test_what_moves_models_asks_first(open_page: OpenPage, stage: Stage) -> None:
    page = open_page()
    page.goto("/models/digits")

    page.get_by_role("link", name="Promote… version 1").click()
    page.get_by_label("Alias").fill("candidate")
    page.get_by_label("Gates").fill("test_accuracy>=0.8")
    page.get_by_role("button", name="Promote").click()
    expect(page.locator("#aliases")).to_contain_text("@candidate → version 1")
    page.get_by_role("link", name="Promote… version 2").click()
    page.get_by_label("Alias").fill("candidate")
    page.get_by_role("button", name="Promote").click()
    page.get_by_role("link", name="Roll back… candidate").click()
    expect(page.locator(".subtitle")).to_contain_text("From version 2 to version 1")
    page.get_by_role("button", name="Roll back").click()
    expect(page.locator("#aliases")).to_contain_text("@candidate → version 1")

    assert 1 == stage.models.aliases("digits")["candidate"]


def _colours_of_the_map(page: Page) -> int:
    pixels = page.evaluate(
        """() => {
            const canvas = document.querySelector(".map canvas");
            const image = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return [...new Set(new Uint32Array(image.data.buffer))];
        }"""
    )
    return len(np.unique(pixels))


@pytest.mark.slow
@pytest.mark.skipif(_SCREENSHOTS is None, reason="FORNADA_SCREENSHOTS names no folder")
def test_pictures_for_the_docs(open_page: OpenPage, jobs: dict[str, str]) -> None:
    folder = Path(_SCREENSHOTS or "")
    folder.mkdir(parents=True, exist_ok=True)
    for name, path, width, height, dark in _PICTURES:
        page = open_page(width=width, dark=dark)
        page.set_viewport_size({"width": width, "height": height})
        page.goto(path.format(**jobs))
        if name == "console-try":
            _try_some(page)
        page.wait_for_load_state("networkidle" if path == "/models" else "load")
        page.wait_for_timeout(500)
        page.screenshot(path=folder / f"{name}.png")
        with Image.open(folder / f"{name}.png") as taken:
            small = taken.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE)
        small.save(folder / f"{name}.png", optimize=True)


def _try_some(page: Page) -> None:
    images, _ = digits()
    pictures = [encoded(Image.fromarray(image), "PNG") for image in images[40:46]]
    page.get_by_label("Choose images").set_input_files(
        [
            {"name": f"{number}.png", "mimeType": "image/png", "buffer": picture}
            for number, picture in enumerate(pictures)
        ]
    )
    expect(page.get_by_role("heading", name="6 results")).to_be_visible()
