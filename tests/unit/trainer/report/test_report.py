"""The report is one self-contained page, and shows every name as text."""

import dataclasses
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from fornada.errors import InputError
from fornada.keys import REPORT_PAGE, check_name
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from model_store.manifest import ModelDraft, Training
from trainer.report.files import report_files
from trainer.report.material import LayerRow, Outcome, ReportMaterial

_VOID = {"meta", "img"}
_IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
_HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src="https://example.com/x.png" onerror="alert(1)">',
    "</style><style>* {display: none}",
    "&amp;",
    r"$\frac{$",
    "\ud800",
    "猫",
    "x\u202egpj",
    "x" * 5000,
]


class _Page(HTMLParser):
    """The elements of a page, and the text of each section."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, str] = {}
        self._section = "head"
        self.feed(files[REPORT_PAGE].decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            text = f"{self.texts.get(self._section, '')} {data}"
            self.texts[self._section] = " ".join(text.split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _shape(output: dict[str, Any]) -> list[int]:
    return [1 if output["kind"] == "binary" else len(output["classes"] or range(5))]


def _material(
    draft: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    image: ImagePreprocessing | None = None,
    **changes: Any,
) -> ReportMaterial:
    """A classifier of 60 vectors in three classes, right for 39 of them."""
    targets = np.arange(60) % 3
    predicted = np.where(np.arange(60) % 9 < 3, (targets + 1) % 3, targets)
    outputs = np.full((60, 3), 0.1, np.float32)
    outputs[np.arange(60), predicted] = 0.8
    about_training = {
        "dataset": "triangles",
        "recipe": "mlp",
        "parameters": {
            "epochs": 4,
            "metrics": ["accuracy", "auc"],
            "early_stopping": None,
            "validation_split": 0.2,
        },
        "seed": 7,
        "data_sha256": "ab" * 32,
        "item_count": 1000,
        "duration_s": 12.34,
    }
    about_output = {"kind": "probabilities", "classes": ["round", "square", "star"]} | (
        output or {}
    )
    about_model = {
        "name": "shapes",
        "inputs": [InputTensor(name="features", dtype="float32", shape=[13], image=image)],
        "outputs": [OutputTensor(name="shapes", shape=_shape(about_output), **about_output)],
        "metrics": {"loss": 0.4, "val_loss": 1.2, "test_loss": 1.25},
        "packages": {"fornada": "0.1.0", "keras": "3.15.1"},
        "training": Training.model_validate(about_training | (training or {})),
    }
    values = {
        "draft": ModelDraft.model_validate(about_model | (draft or {})),
        "layers": [
            LayerRow(name="flatten", kind="Flatten", output_shape=(64,), parameter_count=0),
            LayerRow(name="dense", kind="Dense", output_shape=(3,), parameter_count=195),
        ],
        "history": {"loss": [2.0, 1.0, 0.5, 0.4], "val_loss": [2.0, 1.0, 1.1, 1.2]},
        "test_items": np.zeros((60, 13), np.float32),
        "test_targets": targets,
        "test_outputs": outputs,
    }
    values |= changes
    tested = {name: values.pop(f"test_{name}") for name in ("items", "targets", "outputs")}
    return ReportMaterial(**{"tested": {"shapes": Outcome(**tested)}} | values)


def _outputs() -> Any:
    return _material().tested["shapes"].outputs


def _of_classes(classes: Iterable[str], *, items_each: int = 2, **changes: Any) -> ReportMaterial:
    """Every class but the last is always right; the last is always taken for the first."""
    names = list(classes)
    targets = np.repeat(np.arange(len(names)), items_each)
    outputs = np.zeros((len(targets), len(names)), np.float32)
    outputs[np.arange(len(targets)), np.where(targets == len(names) - 1, 0, targets)] = 1
    values = {
        "test_targets": targets,
        "test_outputs": outputs,
        "test_items": np.zeros((len(targets), 13), np.float32),
    }
    return _material(output={"classes": names}, **values | changes)


def _regression(**changes: Any) -> ReportMaterial:
    targets = np.arange(20, dtype=np.float32)
    outputs = targets[:, None] + 1
    outputs[4] = 24
    values = {
        "test_items": np.zeros((20, 13), np.float32),
        "test_targets": targets,
        "test_outputs": outputs,
    }
    return _material(output={"kind": "values", "classes": ["price"]}, **values | changes)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """The report on a classifier of images."""
    return report_files(_material(test_items=_IMAGES))


@pytest.fixture(scope="module")
def page(files: dict[str, bytes]) -> _Page:
    return _Page(files)


def test_the_page_shows_how_good_the_model_is_and_where_it_comes_from(page: _Page) -> None:
    for section, facts in {
        "head": ("65.0%", "21 of 60 wrong", "800 items, 200 held out"),
        "training": ("4 epochs", "validation loss was lowest after epoch 2", "1.2500"),
        "network": ("195",),
        "provenance": (
            *("triangles", "ab" * 32, "metrics accuracy, auc", "early stopping —", "3.15.1"),
            *("8 \N{MULTIPLICATION SIGN} 8, uint8", "12.3 s", "fornada 0.1.0"),
        ),
    }.items():
        for fact in facts:
            assert fact in page.texts[section], fact


def test_the_figures_of_the_page_are_stored_beside_it(files: dict[str, bytes]) -> None:
    figures = {
        *("training-1-loss.png", "confusion-matrix.png", "calibration.png", "test-items.png")
    }
    assert {REPORT_PAGE, *figures} == set(files)
    assert all(files[name].startswith(b"\x89PNG") for name in figures)


def test_the_page_loads_and_runs_nothing(files: dict[str, bytes], page: _Page) -> None:
    assert not page.all("script") + page.all("link") + page.all("iframe")
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in page.all("img"))
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))
    for reference in (b"http://", b"https://", b"@import", b"url("):
        assert reference not in files[REPORT_PAGE]
    policies = [
        meta["content"]
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"] == policies


def test_the_page_can_be_heard_and_navigated(page: _Page) -> None:
    assert all(image["alt"] for image in page.all("img"))
    assert all(heading["scope"] in {"col", "row"} for heading in page.all("th"))
    assert [{"lang": "en"}] == page.all("html")
    anchors = {f"#{section['id']}" for section in page.all("section")}
    assert anchors == {link["href"] for link in page.all("a")}


def test_the_same_material_gives_the_same_bytes(files: dict[str, bytes]) -> None:
    assert files == report_files(_material(test_items=_IMAGES))


def test_every_name_is_text_and_never_markup() -> None:
    material = _of_classes(
        _HOSTILE,
        test_items=_IMAGES[: 2 * len(_HOSTILE)],
        draft={"packages": {_HOSTILE[2]: _HOSTILE[0]}, "metrics": dict.fromkeys(_HOSTILE, 1.0)},
        training={
            "dataset": _HOSTILE[1],
            "recipe": _HOSTILE[2],
            "parameters": {_HOSTILE[0]: _HOSTILE[1]},
            "not_reproducible_because": _HOSTILE[0],
        },
        layers=[
            LayerRow(name=name, kind=name, output_shape=None, parameter_count=1)
            for name in _HOSTILE
        ],
        history={name: [1.0] for name in _HOSTILE},
    )

    files = report_files(material)

    page = _Page(files)
    assert not page.all("script")
    assert 1 == len(page.all("style"))
    assert all(str(image["src"]).startswith("data:image/png") for image in page.all("img"))
    assert not [a for _, attributes in page.elements for a in attributes if a.startswith("on")]
    assert "<script>alert(1)</script>" in page.texts["classes"]
    assert "&amp;" in page.texts["classes"]
    assert r"x\u202egpj" in page.texts["classes"]
    assert "x" * 39 + "… " in page.texts["classes"]
    for name in files:
        assert name == check_name("file name", name)


def test_confusions_are_sorted_by_frequency_and_share() -> None:
    # Once each: one of two dogs, one of three cats; twice: two of four foxes.
    targets = np.array([1, 1, 0, 0, 0, 2, 2, 2, 2])
    said = np.array([1, 0, 0, 0, 1, 2, 2, 0, 0])
    outputs = np.eye(3, dtype=np.float32)[said]
    material = _of_classes(["cat", "dog", "fox"], test_targets=targets, test_outputs=outputs)

    page = _Page(report_files(material))

    pairs = re.findall(r"(cat|dog|fox)\s+(cat|dog|fox)\s+\d", page.texts["confusion"])
    assert [("fox", "cat"), ("dog", "cat"), ("cat", "dog")] == pairs
    sentence = "Most often, fox is taken for cat: 2 times, 50.0% of its items"
    assert sentence in page.texts["confusion"]


def test_the_weakest_of_many_classes_are_seen_first_and_the_others_on_demand() -> None:
    page = _Page(report_files(_of_classes(f"class {number}" for number in range(100))))

    names = re.findall(r"#\d+\s+(class \d+)", page.texts["classes"])
    assert ["class 99", "class 0"] == names[:2]
    assert 100 == len(names)
    assert "The other 88 classes" in page.texts["classes"]
    assert "of class 99" in page.texts["head"]


def test_classes_without_test_items_come_last() -> None:
    targets = np.array([1, 1, 1, 1, 2, 2])

    page = _Page(report_files(_of_classes(["cat", "dog", "fox"], test_targets=targets)))

    assert ["fox", "dog", "cat"] == re.findall(r"#\d+\s+(\w+)", page.texts["classes"])


@pytest.mark.slow
def test_thousands_of_classes_make_no_large_page() -> None:
    files = report_files(_of_classes((f"class {number}" for number in range(3000)), items_each=1))

    assert "confusion-matrix.png" not in files
    assert "2,750 best are left out" in _Page(files).texts["classes"]
    assert sum(map(len, files.values())) < 1_500_000


@pytest.mark.slow
def test_large_images_make_no_large_page() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 300, 300, 3), dtype=np.uint8)

    files = report_files(_material(test_items=noise))

    assert len(files[REPORT_PAGE]) < 2_000_000


def test_images_of_floats_are_shown_as_their_pixels(files: dict[str, bytes]) -> None:
    image = ImagePreprocessing(color="grayscale")
    found = report_files(_material(test_items=_IMAGES / 255, image=image))

    assert files["test-items.png"] == found["test-items.png"]
    assert "test-items.png" not in report_files(_material(test_items=_IMAGES / 255))


def test_items_that_are_not_images_are_listed_by_number() -> None:
    files = report_files(_material(test_items=np.zeros((60, 80), np.int32)))

    page = _Page(files)
    assert "test-items.png" not in files
    assert "items" not in page.texts
    assert re.search(r"\b0\s+round\s+square\s+80.0%\s+10.0%", page.texts["mistakes"])


def test_the_most_confident_mistake_comes_first() -> None:
    outputs = _outputs().copy()
    outputs[18] = [0.04, 0.95, 0.01]

    page = _Page(report_files(_material(test_items=_IMAGES, test_outputs=outputs)))

    assert re.match(r"Worst mistakes .*?square\s+is round · item 18", page.texts["mistakes"])


def test_logits_are_shown_as_their_softmax() -> None:
    logits = np.log(_outputs()) + 3

    page = _Page(report_files(_material(test_outputs=logits)))

    assert "this is their softmax" in page.texts["calibration"]
    assert "probability of 80.0% on average" in page.texts["calibration"]


def test_items_without_a_result_are_counted_and_are_no_mistakes() -> None:
    outputs = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    outputs[[1, 4]] = np.nan

    page = _Page(report_files(_material(test_outputs=outputs)))

    assert "2 items without a result" in page.texts["classes"]
    assert "No test item was predicted wrong" in page.texts["mistakes"]
    assert "Every test item that has a result was predicted right" in page.texts["confusion"]


def test_the_epoch_of_the_weights_is_shown() -> None:
    page = _Page(report_files(_material(best_epoch=2)))

    assert "The model has the weights of epoch 2" in page.texts["training"]


def test_a_regression_has_residuals_and_no_classes() -> None:
    files = report_files(_regression())

    page = _Page(files)
    assert {"training-1-loss.png", "true-and-predicted.png", "residuals.png", REPORT_PAGE} == set(
        files
    )
    assert {"head", "training", "errors", "residuals", "network", "provenance"} == set(page.texts)
    assert "Mean absolute error 1.95 over 20 test items" in page.texts["head"]
    assert "Half of the predictions are within 1 of the true value" in page.texts["errors"]
    assert re.search(r"\b4\s+4.000\s+24.00\s+\+20.00", page.texts["residuals"])


def test_one_of_two_classes_has_curves_and_thresholds_and_pictures() -> None:
    # given the right class of 48 of 60 items
    targets = np.arange(60) % 2
    positive = np.where(np.arange(60) % 5 == 0, 0.7 - 0.4 * targets, 0.2 + 0.6 * targets)
    material = _material(
        output={"kind": "binary", "classes": ["ham", "spam"], "threshold": 0.5},
        test_items=_IMAGES,
        test_targets=targets,
        test_outputs=positive[:, None].astype(np.float32),
    )

    # when
    files = report_files(material)

    # then
    page = _Page(files)
    assert {"roc-curve.png", "precision-recall.png", "probabilities.png"} < set(files)
    assert "ham or spam, learned from triangles" in page.texts["head"]
    assert "80.0% 12 of 60 wrong F1 of spam 80.0%" in page.texts["head"]
    assert "ham is taken for spam: 6 times, 20.0%" in page.texts["confusion"]
    assert "An item is spam from a probability of 0.5 on." in page.texts["threshold"]
    assert "0.5 (the model's) 80.0% 80.0% 80.0% 80.0% 80.0%" in page.texts["threshold"]
    assert "0.9 — 0.0% 100.0% 0.0% 50.0%" in page.texts["threshold"]
    assert "spam has a probability of 50.0% on average" in page.texts["calibration"]
    assert re.match(r"Worst mistakes .*?spam\s+is ham · item 0", page.texts["mistakes"])


def test_two_classes_of_which_one_occurs_have_no_curves() -> None:
    material = _material(
        output={"kind": "binary", "classes": ["ham", "spam"], "threshold": 0.5},
        test_targets=np.zeros(60, np.int64),
        test_outputs=np.full((60, 1), 0.1, np.float32),
    )

    files = report_files(material)

    assert "roc-curve.png" not in files
    assert "All test items are of one class" in _Page(files).texts["threshold"]


def test_labels_that_apply_together_are_counted_and_shown_each() -> None:
    # given: beach is right, forest is missed once, night is never true and predicted once
    targets = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]])
    outputs = np.array(
        [[0.9, 0.8, 0.1], [0.9, 0.2, 0.1], [0.1, 0.2, 0.7], [0.3, 0.4, 0.2]], np.float32
    )
    output = {"kind": "multilabel", "classes": ["beach", "forest", "night"], "threshold": 0.5}
    facts = {"output": output, "test_targets": targets, "test_outputs": outputs}

    # when
    files = report_files(_material(**facts, test_items=_IMAGES[:4]))
    table = _Page(report_files(_material(**facts, test_items=np.zeros((4, 13), np.float32))))

    # then
    page = _Page(files)
    assert {"labels.png", "test-items.png"} < set(files)
    assert {"confusion", "calibration"}.isdisjoint(page.texts)
    assert "F1 over all labels 75.0% precision 75.0%, recall 75.0%" in page.texts["head"]
    assert "All labels right 50.0% 2 of 4 items" in page.texts["head"]
    assert ["forest", "beach", "night"] == re.findall(r"#\d\s+(\w+)", page.texts["classes"])
    assert "beach, forest" in page.texts["items"]
    assert re.search(r"night\s+is none · item 2", page.texts["mistakes"])
    assert "2 none night night 70.0% —" in table.texts["mistakes"]
    assert "3 forest none 0.0% 40.0%" in table.texts["mistakes"]


def test_several_values_are_told_apart() -> None:
    targets = np.stack([np.arange(20), 100 * np.arange(20)], axis=1).astype(np.float32)
    outputs = targets + np.array([1, 0], np.float32)
    outputs[4, 1] += 500

    files = report_files(
        _material(
            output={"kind": "values", "classes": ["length", "price"]},
            test_items=np.zeros((20, 13), np.float32),
            test_targets=targets,
            test_outputs=outputs,
        )
    )

    page = _Page(files)
    assert {"true-and-predicted-0.png", "true-and-predicted-1.png"} < set(files)
    assert "Predicts 2 values" in page.texts["head"]
    assert re.search(r"price 25.00 111.8 96.2% length 1.000 1.000 97.0%", page.texts["values"])
    assert "4 price 400.0 900.0 +500.0" in page.texts["residuals"]


def test_an_embedding_has_its_training_and_no_quality() -> None:
    output = {"kind": "embedding", "classes": None}
    material = dataclasses.replace(_material(output=output), tested={})

    page = _Page(report_files(material))

    assert {"head", "training", "network", "provenance"} == set(page.texts)
    assert "Embedding of 5 numbers" in page.texts["head"]


def test_missing_values_are_counted() -> None:
    targets = np.array([1, 2, 3], np.float32)
    outputs = np.array([[1], [np.nan], [4]], np.float32)

    page = _Page(report_files(_regression(test_targets=targets, test_outputs=outputs)))

    assert "1 item without a result" in page.texts["errors"]
    assert "nan" not in page.texts["residuals"]


def test_outputs_of_other_items_are_refused() -> None:
    with pytest.raises(InputError, match=r"need float \(60, 3\)"):
        report_files(_material(test_outputs=_outputs()[:5]))
    with pytest.raises(InputError, match=r"float32 \(20, 2\), the targets float32 \(20,\)"):
        report_files(_regression(test_outputs=np.zeros((20, 2), np.float32)))
