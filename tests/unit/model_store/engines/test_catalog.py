"""The engines by name, and what they need, before anything heavy is imported."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import pytest

from fornada.errors import ConfigError, MissingExtraError
from model_store.engines import catalog


def test_every_engine_that_is_installed_is_accepted() -> None:
    for entry in catalog.ENGINES:
        assert entry is catalog.require_engine(entry.name)


def test_one_that_is_not_installed_is_refused_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalog, "find_spec", lambda _name: None)

    for entry in catalog.ENGINES:
        if entry.modules:
            with pytest.raises(MissingExtraError) as refusal:
                catalog.open_engine(entry.name, threads=1)
            expected = (
                f"{entry.modules[0]} is not installed, and a worker with "
                f"FORNADA_ENGINE={entry.name} needs it; pip install 'fornada[{entry.extra}]'"
            )
            assert str(refusal.value).startswith(expected)


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match="=abacus names no engine; set it to one of keras, "):
        catalog.require_engine("abacus")


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Says which packages are installed."""

    def installed(*names: str) -> None:
        def distribution(name: str) -> str:
            if name not in names:
                raise PackageNotFoundError(name)
            return name

        monkeypatch.setattr(catalog, "distribution", distribution)

    return installed


def test_only_builds_for_gpus_use_them(install: Callable[..., None]) -> None:
    def using() -> set[str]:
        return {entry.name for entry in catalog.ENGINES if entry.uses_gpus()}

    install("tensorflow-cpu", "jax")
    assert set() == using()
    install("tensorflow")
    assert {"keras", "keras-exact"} == using()
    install("tensorflow-cpu", "jax-cuda13-plugin")
    assert {"jax", "jax-bf16"} == using()
