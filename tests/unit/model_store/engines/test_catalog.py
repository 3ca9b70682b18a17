"""Which engine a worker has, told before anything heavy is imported."""

import pytest

from fornada.errors import MissingExtraError
from fornada.settings import EngineName
from model_store.engines import catalog


@pytest.mark.parametrize("name", ["keras", "keras-exact", "openvino", "openvino-bf16"])
def test_an_engine_that_is_installed_is_accepted(name: EngineName) -> None:
    catalog.require_engine(name)


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [("keras", "tensorflow", "worker"), ("openvino-bf16", "openvino", "openvino")],
)
def test_one_that_is_not_is_refused_with_what_to_install(
    name: EngineName, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda asked: None if asked == package else object())

    with pytest.raises(MissingExtraError) as refusal:
        catalog.open_engine(name, threads=1)

    assert str(refusal.value).startswith(f"{package} is not installed")
    assert f"FORNADA_ENGINE={name}" in str(refusal.value)
    assert f"pip install 'fornada[{extra}]'" in str(refusal.value)
