"""Predict what people try, with one version or with two side by side."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fornada.errors import FornadaError, InputError, MissingExtraError, PredictionErrors
from fornada.parallel import in_parallel
from gateway.console.items.outputs import Given, given_of
from gateway.console.items.overlays import drawn
from gateway.console.items.pictures import LARGE, THUMBNAIL, Pictures, encoded, is_small
from gateway.console.trying.items import Tried
from model_store.manifest import ModelManifest
from producer.client import Client

_TIMEOUT_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What a version gives for an item."""

    model: str
    given: list[Given] = field(default_factory=list)
    #: Why it gives nothing.
    why: str | None = None
    #: The item's picture with a mask or boxes drawn on it, as `data:`.
    drawn: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """An item that was tried."""

    name: str
    #: As `data:`, since nothing is kept that a browser could ask for.
    picture: str | None
    is_small: bool
    answers: list[Answer]

    @property
    def differ(self) -> bool:
        """Whether two versions disagree about it."""
        labels = {tuple(given.label for given in answer.given) for answer in self.answers}
        return len(labels) > 1


class Trial:
    """Predicts a few items. Safe to share between threads."""

    def __init__(self, *, client: Client, pictures: Pictures) -> None:
        self._client = client
        self._pictures = pictures

    def results(self, items: Sequence[Tried], models: Sequence[ModelManifest]) -> list[Result]:
        """What each of the models gives for each item."""
        return list(in_parallel(lambda item: self._result(item, models), items))

    def _result(self, item: Tried, models: Sequence[ModelManifest]) -> Result:
        picture, small = self._thumbnail(item)
        return Result(
            name=item.name,
            picture=picture,
            is_small=small,
            answers=[self._answer(item, model) for model in models],
        )

    def _answer(self, item: Tried, model: ModelManifest) -> Answer:
        name = str(model)
        if item.why is not None:
            return Answer(model=name, why=item.why)
        try:
            outputs = self._client.predict(item.inputs, model=name, timeout_s=_TIMEOUT_S)
        except PredictionErrors as exc:
            return Answer(model=name, why=next(iter(exc.errors.values()), str(exc)))
        except FornadaError as exc:
            return Answer(model=name, why=exc.public_text)
        named = outputs if isinstance(outputs, dict) else {model.outputs[0].name: outputs}
        rows = {output.name: named[output.name][0] for output in model.outputs}
        size = _size(item)
        given = [given_of(output, rows[output.name], picture=size) for output in model.outputs]
        return Answer(model=name, given=given, drawn=self._drawn(item, given, rows, size))

    def _drawn(
        self,
        item: Tried,
        given: Sequence[Given],
        rows: dict[str, Any],
        size: tuple[int, int] | None,
    ) -> str | None:
        overlays = [each for each in given if each.drawn]
        if item.file is None or size is None or not overlays:
            return None
        picture = self._pictures.of_file(item.file, longest=LARGE // 2)
        for each in overlays:
            picture = drawn(picture, rows[each.output.name], each.drawn, size=size)
        return _data_url(*encoded(picture))

    def _thumbnail(self, item: Tried) -> tuple[str | None, bool]:
        if item.file is None:
            return None, False
        try:
            picture = self._pictures.of_file(item.file, longest=THUMBNAIL)
        except (InputError, MissingExtraError):
            return None, False
        return _data_url(*encoded(picture)), is_small(picture)


def _size(item: Tried) -> tuple[int, int] | None:
    """Height and width of an image as the model takes it."""
    if item.file is None or not isinstance(item.inputs, np.ndarray):
        return None
    height, width = item.inputs.shape[1:3]
    return height, width


def _data_url(content: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
