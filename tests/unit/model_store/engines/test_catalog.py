"""The engines by name, and what they need, before anything heavy is imported."""

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
