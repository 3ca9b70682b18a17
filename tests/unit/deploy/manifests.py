"""The manifests of deploy/k8s, as kubectl renders them."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[3] / "deploy" / "k8s"
#: That of kubectl 1.27: older ones do not know all fields of the kustomizations.
_LEAST_KUSTOMIZE = 5

#: The API groups of KEDA's and Prometheus's operators.
OPERATORS = ("keda.sh/", "monitoring.coreos.com/")

Manifest = dict[str, Any]
#: The manifests of each folder that can be rendered.
Rendered = dict[str, list[Manifest]]


@functools.cache
def _kubectl() -> str:
    """The path of kubectl; skips where there is none that renders components."""
    kubectl = shutil.which("kubectl")
    told = _run(kubectl, "version", "--client") if kubectl else ""
    version = re.search(r"^Kustomize Version: v(\d+)", told, re.MULTILINE)
    if kubectl is None or version is None or int(version[1]) < _LEAST_KUSTOMIZE:
        pytest.skip(f"there is no kubectl with Kustomize {_LEAST_KUSTOMIZE} or newer")
    return kubectl


def render(folder: Path) -> list[Manifest]:
    """The manifests of a folder."""
    text = _run(_kubectl(), "kustomize", str(folder))
    return [each for each in yaml.safe_load_all(text) if each]


@functools.cache
def render_all() -> Rendered:
    """The manifests of every folder that can be applied."""
    _kubectl()
    files = FOLDER.glob("**/kustomization.yaml")
    names = {str(path.parent.relative_to(FOLDER)) for path in files}
    # Others have these in them, and rendering takes a third of a second.
    parts = {name for name in names if name.startswith("components")}
    rendered = sorted(names - parts - {"pools/gpu", "pools/worker"})
    with ThreadPoolExecutor(max_workers=2) as pool:
        manifests = pool.map(lambda name: render(FOLDER / name), rendered)
        return dict(zip(rendered, manifests, strict=True))


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """Those of `manifests` that are of one of `kinds`."""
    return [each for each in manifests if each["kind"] in kinds]


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    """The name and the template of everything that runs pods."""
    for each in of_kind(manifests, "Deployment", "StatefulSet", "Job"):
        yield each["metadata"]["name"], each["spec"]["template"]


def container_of(pod: Manifest) -> Manifest:
    """The only container of a pod's template."""
    (container,) = pod["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def ours(rendered: Rendered) -> Iterator[tuple[list[Manifest], str, Manifest]]:
    """All of a folder's manifests, and the name and template of each pod of Fornada's in it."""
    for folder, manifests in rendered.items():
        if not folder.startswith("pools"):
            for name, pod in pods(manifests):
                if container_of(pod)["image"].startswith("fornada-"):
                    yield manifests, name, pod


def environ_of(manifests: list[Manifest], pod: Manifest) -> dict[str, str]:
    """The environment of a pod's container, those of its config maps included."""
    container = container_of(pod)
    environ: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for each in of_kind(manifests, "ConfigMap"):
            if each["metadata"]["name"] == source["configMapRef"]["name"]:
                environ |= each["data"]
    return environ | {each["name"]: each["value"] for each in container.get("env", [])}


def _run(*command: str) -> str:
    told = subprocess.run(command, capture_output=True, text=True)
    assert (0, "") == (told.returncode, told.stderr), command
    return told.stdout
