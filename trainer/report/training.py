"""What a report says of any model: how it was trained, its layers, and its provenance."""

from collections.abc import Sequence

from fornada.tensors import OutputTensor
from trainer.figures.curves import metric_curve, metric_names
from trainer.report.material import ReportMaterial, train_item_counts
from trainer.report.page import Section, shape


def training_section(material: ReportMaterial) -> Section:
    """The curve of every metric, and the metrics of the published weights."""
    history, metrics = material.history, material.draft.metrics
    curves = {
        metric: metric_curve(metric, history, best_epoch=material.best_epoch)
        for metric in metric_names(history)
    }
    losses = history.get("val_loss", ())
    return Section(
        anchor="training",
        title="Training",
        values={
            "epoch_count": material.epoch_count,
            "best_epoch": material.best_epoch,
            "lowest_epoch": 1 + losses.index(min(losses)) if len(losses) > 1 else None,
            "curves": list(curves.items()),
            "metrics": metrics,
            "metric_names": metric_names({name.removeprefix("test_"): () for name in metrics}),
        },
        figures={
            # A metric may have any name; a file may not.
            f"training-{number}-{_file_part(metric)}.png": png
            for number, (metric, png) in enumerate(curves.items(), start=1)
        },
    )


def network_section(material: ReportMaterial) -> Section:
    """The layers, and each one's share of the parameters."""
    return Section(
        anchor="network",
        title="Network",
        values={"layers": material.layers, "parameter_count": material.parameter_count},
    )


def untested_section(outputs: Sequence[OutputTensor]) -> Section:
    """The outputs of which nothing is known but what the model gives."""
    return Section(
        anchor="untested",
        title="Other outputs",
        values={"outputs": [(output.name, str(output)) for output in outputs]},
    )


def provenance_section(material: ReportMaterial) -> Section:
    """Data, parameters and versions: what it takes to train the same model again."""
    training = material.draft.training
    data = {"item": _item(material)}
    for outcome in list(material.tested.values())[:1]:
        data = {"test items": f"{len(outcome.targets):,}", **data}
    for taken in material.draft.inputs:
        if taken.image is not None:
            data["images"] = str(taken.image)
    parameters: dict[str, object] = {}
    if training is not None:
        fitted_count, held_out_count = train_item_counts(training)
        data = {
            "data set": training.dataset,
            "training items": f"{fitted_count:,}",
            "validation items": f"{held_out_count:,}",
            **data,
            "sha256 of the training data": training.data_sha256,
        }
        parameters = {
            "recipe": training.recipe,
            "seed": training.seed,
            **training.parameters,
            "training time": f"{training.duration_s:.1f} s",
        }
    columns = {"Data": data, "Parameters": parameters, "Versions": material.draft.packages}
    return Section(
        anchor="provenance",
        title="Provenance",
        values={
            "note": training and training.not_reproducible_because,
            "columns": {title: facts for title, facts in columns.items() if facts},
        },
    )


def _item(material: ReportMaterial) -> str:
    """Shape and dtype of an item, or of each of its inputs."""
    for outcome in material.tested.values():
        if (items := outcome.items) is not None:
            return _shown(items.shape[1:], "string" if items.dtype.hasobject else str(items.dtype))
    takes = material.draft.inputs
    each = [_shown(taken.shape, taken.dtype) for taken in takes]
    if len(takes) == 1:
        return each[0]
    return "; ".join(f"{taken.name}: {text}" for taken, text in zip(takes, each, strict=True))


def _shown(sides: Sequence[int | None], dtype: str) -> str:
    return "a text" if dtype == "string" and not sides else f"{shape(sides)}, {dtype}"


def _file_part(metric: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in metric)[:60]
