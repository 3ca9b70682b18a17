"""Versions are exported whole, and every changed byte is noticed."""

import json
from pathlib import Path
from typing import Any

import pytest

from fornada import keys
from fornada.errors import IntegrityError, LocalDiskError, StoreUnavailableError, UsageError
from model_store.export import check_version, export_report, export_version
from model_store.manifest import ModelManifest
from model_store.store import ModelStore


def _statuses(models: ModelStore, manifest: ModelManifest) -> dict[str, str]:
    return {each.file: each.status for each in check_version(manifest, models=models)}


def test_every_file_is_written_as_it_is_stored(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    manifest = publish()

    paths = export_version(manifest, tmp_path / "new" / "folder", models=models)

    names = ["model.keras", "golden-inputs.npy", "golden-outputs.npy", "history.json"]
    assert [*names, "manifest.json"] == [path.name for path in paths]
    prefix = keys.ModelKeys("m").version(1).prefix
    for path in paths:
        assert models.objects.get(prefix + path.name).data == path.read_bytes()


def test_a_manifest_of_an_older_schema_is_written_as_it_was_signed(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    plain = json.loads(publish().to_json())
    del plain["inputs"], plain["outputs"]
    old = {"schema_version": 1, "item_shape": [2], "item_dtype": "uint8", "classes": ["a", "b"]}
    key = keys.ModelKeys("m").version(1).manifest
    models.objects.put(key, json.dumps(plain | old).encode())

    export_version(models.resolve("m:1"), tmp_path / "new", models=models)

    assert models.objects.get(key).data == (tmp_path / "new" / "manifest.json").read_bytes()


def test_a_folder_that_is_not_empty_is_left_alone(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("precious")

    with pytest.raises(UsageError, match="is not empty; name a new folder"):
        export_version(publish(), tmp_path, models=models)

    assert ["mine"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_that_cannot_be_made_is_a_local_disk_error(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(LocalDiskError, match="cannot be written"):
        export_version(publish(), tmp_path / "file" / "folder", models=models)


def test_a_changed_object_is_not_written(models: ModelStore, publish: Any, tmp_path: Path) -> None:
    manifest = publish()
    models.objects.put(manifest.artifact.key, b"ARTIFACT")

    with pytest.raises(IntegrityError):
        export_version(manifest, tmp_path, models=models)

    assert [] == list(tmp_path.iterdir())


def test_a_report_is_its_page_and_then_its_figures(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    files = {"calibration.png": b"PNG", "history.json": b"{}", "report.html": b"<!doctype html>"}
    manifest = publish(files=files)

    paths = export_report(manifest, tmp_path / "new", models=models)

    assert ["report.html", "calibration.png"] == [path.name for path in paths]
    assert [files[path.name] for path in paths] == [path.read_bytes() for path in paths]


def test_a_version_without_a_report_says_what_makes_one(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="m:1 has no report; `fornada train` makes one"):
        export_report(publish(), tmp_path / "new", models=models)

    assert [] == list(tmp_path.iterdir())


def test_a_report_that_was_changed_is_not_written(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    manifest = publish(files={"report.html": b"<!doctype html>"})
    models.objects.put(manifest.files["report.html"].key, b"<script></script>")

    with pytest.raises(IntegrityError):
        export_report(manifest, tmp_path, models=models)

    assert [] == list(tmp_path.iterdir())


def test_a_manifest_cannot_have_files_written_elsewhere(
    models: ModelStore, publish: Any, tmp_path: Path
) -> None:
    manifest = publish()
    evil = manifest.model_copy(update={"files": {"../evil": manifest.artifact}})

    with pytest.raises(UsageError, match=r"file name '\.\./evil' is not a valid name"):
        export_version(evil, tmp_path / "new", models=models)

    assert ["new"] == [path.name for path in tmp_path.iterdir()]


def test_what_is_as_recorded_is_ok_and_the_contents_are_looked_at(
    models: ModelStore, publish: Any
) -> None:
    assert {
        "model.keras": "ok",
        "contents of model.keras": "wrong",
        "golden-inputs.npy": "ok",
        "golden-outputs.npy": "ok",
        "history.json": "ok",
    } == _statuses(models, publish(artifact=b"no zip"))


def test_changed_and_missing_objects_are_wrong(models: ModelStore, publish: Any) -> None:
    manifest = publish()
    models.objects.put(manifest.files["history.json"].key, b"[]")
    models.objects.delete(manifest.golden.inputs.key)
    models.objects.put(manifest.artifact.key, b"ARTIFACT")

    assert {
        "model.keras": "wrong",
        "golden-inputs.npy": "wrong",
        "golden-outputs.npy": "ok",
        "history.json": "wrong",
    } == _statuses(models, manifest)


def test_an_unreachable_store_is_not_a_finding(
    models: ModelStore, publish: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = publish()

    def away(*_arguments: Any, **_options: Any) -> None:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(models.objects, "download", away)

    with pytest.raises(StoreUnavailableError):
        list(check_version(manifest, models=models))
