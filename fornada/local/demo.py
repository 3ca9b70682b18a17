"""The main job end to end through the public commands, each printed before it runs."""

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fornada import keys
from fornada.errors import StackError
from fornada.local.stack import Stack
from fornada.storage.opening import open_store

_PREFERRED = "fashion_mnist"
#: Real images from an installed package, which need no network.
_FALLBACK = "digits"
_EPOCHS = 5
_SHARDS = 10
_ALIAS = "prod"


class Demo:
    """The main job on a running stack.

    Args:
        stack: The stack.
        folder: Receives images, probabilities, a picture and the report; as the user wrote it.
        say: Prints a line, as `fornada.commands.output.say` does.
    """

    def __init__(self, *, stack: Stack, folder: Path, say: Callable[..., None]) -> None:
        self._stack = stack
        self._folder = folder
        self._say = say

    def run(self, *, dataset: str | None) -> dict[str, Any]:
        """Run the job; print and return the report.

        Args:
            dataset: The data set; `None` for Fashion-MNIST, or digits if it cannot be downloaded.

        Raises:
            StackError: A command failed, and has printed its own message.
        """
        dataset = self._fetch(dataset)
        name = dataset.replace("_", "-")
        self._call(
            *("train", "--dataset", dataset, "--name", name),
            *("--epochs", str(_EPOCHS), "--promote", _ALIAS, "--json"),
        )
        job_id = self._submit(name)
        evaluation = self._evaluate(job_id)
        job = self._call("jobs", "show", job_id, "--json")
        report = self._report(dataset, job, accuracy=evaluation["accuracy"])
        self._print(report)
        return report

    def _fetch(self, dataset: str | None) -> str:
        """Write the test split as .npy files; return the data set's name."""
        wanted = dataset or _PREFERRED
        arguments = ("dataset", wanted, "--split", "test", "--output", str(self._folder))
        if dataset is not None:
            self._run(*arguments)
            return dataset
        code = self._begin(*arguments, share_stderr=False)
        if code == 0:
            return wanted
        if code != 1:
            raise self._failure(arguments, code)
        message = self._output_path(arguments).read_text(errors="replace").strip()
        # The last line is the error; its first clause is the fact.
        reason = message.rpartition("\n")[2].removeprefix("error: ").partition(";")[0]
        self._say(f"{reason}; continuing with {_FALLBACK}", colour="yellow")
        return self._fetch(_FALLBACK)

    def _submit(self, name: str) -> str:
        labels = np.load(self._folder / "labels.npy", mmap_mode="r", allow_pickle=False)
        items_per_shard = -(-len(labels) // _SHARDS)
        job = self._call(
            *("submit", str(self._folder / "images.npy"), "--model", f"{name}@{_ALIAS}"),
            *("--items-per-shard", str(items_per_shard), "--wait", "--json"),
        )
        return str(job["job_id"])

    def _evaluate(self, job_id: str) -> dict[str, Any]:
        probabilities = str(self._folder / "probabilities.npy")
        self._run("jobs", "results", job_id, "--format", "npy", "--output", probabilities)
        return self._call(
            *("evaluate", "--images", str(self._folder), "--probabilities", probabilities),
            *("--picture", str(self._folder / "predictions.png"), "--json"),
        )

    def _report(self, dataset: str, job: dict[str, Any], *, accuracy: float) -> dict[str, Any]:
        settings = self._stack.settings
        name, _, version = str(job["model"]).partition(":")
        return {
            "accuracy": accuracy,
            "items": job["items"],
            "shards": job["shards"],
            "items_per_s": job["items_per_s"],
            "model": job["model"],
            "model_digest": job["model_sha256"],
            "store": f"{settings.s3_endpoint_url}/{settings.s3_bucket}",
            "job_id": job["job_id"],
            "dataset": dataset,
            "artifacts": {
                "model": keys.ModelKeys(name).version(int(version)).artifact,
                "model_manifest": keys.ModelKeys(name).version(int(version)).manifest,
                "job": keys.JobKeys(job["job_id"]).prefix,
                "job_end": keys.JobKeys(job["job_id"]).final,
                "report": self._copy_report(keys.ModelKeys(name).version(int(version)).prefix),
                "predictions": str(self._folder / "predictions.png"),
                "probabilities": str(self._folder / "probabilities.npy"),
            },
        }

    def _copy_report(self, prefix: str) -> str:
        """Copy the model's training report out of the store; return its path."""
        objects = open_store(self._stack.settings)
        path = self._folder / keys.REPORT_PAGE
        path.write_bytes(objects.get(prefix + keys.REPORT_PAGE).data)
        return str(path)

    def _print(self, report: dict[str, Any]) -> None:
        artifacts = report["artifacts"]
        folder = shlex.quote(str(self._folder))
        rows = {
            "accuracy": f"{report['accuracy']:.4f} on {report['items']:,} test images, "
            "from the probabilities",
            "speed": f"{report['items_per_s']:,.0f} images/s from first enqueue to last durable "
            f"outcome, {report['shards']} shards",
            "model": f"{report['model']}  sha256 {report['model_digest']}",
            "in the store": f"{report['store']}  (plain files in {self._folder / 's3'})",
            "  model": artifacts["model"],
            "  job": artifacts["job"],
            "report": f"{artifacts['report']}  (open it in a browser)",
            "picture": artifacts["predictions"],
            "look again": f"fornada up --data {folder}   and elsewhere: source {folder}/env; "
            f"fornada jobs show {report['job_id']}",
        }
        if self._stack.gateway_url is not None:
            rows["console"] = f"{self._stack.gateway_url}  (then; log in with FORNADA_API_KEY)"
        self._say("")
        for label, value in rows.items():
            self._say(value, label=f"{label:<14}", bold=True)

    def _call(self, *arguments: str) -> dict[str, Any]:
        """Run a command that prints one JSON object; return the object."""
        self._run(*arguments)
        answer: dict[str, Any] = json.loads(self._output_path(arguments).read_bytes())
        return answer

    def _run(self, *arguments: str) -> None:
        code = self._begin(*arguments, share_stderr=True)
        if code != 0:
            raise self._failure(arguments, code)

    def _begin(self, *arguments: str, share_stderr: bool) -> int:
        self._say(f"$ fornada {shlex.join(arguments)}", colour="cyan", bold=True)
        return self._stack.run_command(
            *arguments, output_path=self._output_path(arguments), share_stderr=share_stderr
        )

    def _output_path(self, arguments: tuple[str, ...]) -> Path:
        words = [word for word in arguments[:2] if word in {"jobs", "results", "show"}]
        return self._stack.logs_dir / f"demo-{'-'.join(words) or arguments[0]}.out"

    def _failure(self, arguments: tuple[str, ...], code: int) -> StackError:
        return StackError(
            f"`fornada {shlex.join(arguments)}` ended with code {code}; its message is above, "
            f"the logs of servers and workers are in {self._stack.logs_dir}"
        )
