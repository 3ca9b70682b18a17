"""What a report says of any model: how it learned, what it consists of, how it came about."""

from collections.abc import Iterable, Mapping, Sequence
from xml.etree.ElementTree import Element

from trainer.figures.curves import metric_curve, metric_names
from trainer.report.layers import LayerRow
from trainer.report.markup import NOTHING, meter, short, table, tag, text
from trainer.report.material import ReportMaterial
from trainer.report.page import Section, drawing


def training_section(material: ReportMaterial) -> Section:
    """The curves of every metric, and what they came to."""
    history, figures, panels = material.history, {}, []
    for number, metric in enumerate(metric_names(history), start=1):
        png = metric_curve(metric, history, best_epoch=material.best_epoch)
        # A metric may be named anything; a file may not.
        figures[f"training-{number}-{_file_part(metric)}.png"] = png
        alt = f"{text(metric)} by epoch, on training and validation items."
        panels.append(drawing(png, alt=alt))
    return Section(
        anchor="training",
        title="Training",
        lead=_training_lead(history, material.best_epoch),
        body=[tag("div", *panels, class_="pair"), _metric_table(material.metrics)],
        figures=figures,
    )


def network_section(layers: Sequence[LayerRow]) -> Section:
    """The layers, with what each has of the parameters."""
    total = sum(layer.parameter_count for layer in layers)
    rows = [
        (
            short(layer.name),
            short(layer.kind),
            _shape(layer.output_shape),
            f"{layer.parameter_count:,}",
            meter(layer.parameter_count / total if layer.parameter_count else None),
        )
        for layer in layers
    ]
    headings = ("Layer", "Kind", "Output of an item", "Parameters", "Share")
    return Section(
        anchor="network",
        title="Network",
        lead=f"{len(layers):,} layers with {total:,} parameters.",
        body=[table(headings, rows, label="Layers", numbers=("Parameters",))],
    )


def origin_section(material: ReportMaterial) -> Section:
    """Data, parameters and versions: what it takes to do it again."""
    data = {
        "data set": material.dataset,
        "items trained on": f"{material.train_item_count:,}",
        "items validated on": f"{material.validation_item_count:,}",
        "items tested on": f"{len(material.test_items):,}",
        "an item": f"{_shape(material.test_items.shape[1:])}, {material.test_items.dtype}",
        "sha256 of the training data": material.data_sha256,
    }
    parameters = {
        "recipe": material.recipe,
        "seed": material.seed,
        **material.parameters,
        "took": f"{material.duration_s:.1f} s",
    }
    body = [
        tag(
            "div",
            _facts("Data", data.items()),
            _facts("Parameters", parameters.items()),
            _facts("Versions", material.packages.items()),
            class_="facts",
        )
    ]
    return Section(
        anchor="origin",
        title="How it came about",
        lead=material.reproducibility_note or "",
        body=body,
    )


def _file_part(metric: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "-" for c in metric)[:60]


def _training_lead(history: Mapping[str, Sequence[float]], best_epoch: int | None) -> str:
    epochs = max((len(values) for values in history.values()), default=0)
    lead = f"{epochs:,} epoch{'' if epochs == 1 else 's'}."
    if best_epoch is not None:
        lead += f" The model has the weights of epoch {best_epoch}."
    losses = history.get("val_loss", ())
    if len(losses) > 1:
        lowest = min(range(len(losses)), key=losses.__getitem__) + 1
        lead += f" The validation loss was lowest after epoch {lowest}"
        lead += "." if lowest == epochs else "; those since have not made it lower."
    return lead


def _metric_table(metrics: Mapping[str, float]) -> Element:
    names = metric_names({key.removeprefix("test_"): () for key in metrics})
    rows = [
        (short(name), *(_number(metrics.get(f"{part}{name}")) for part in ("", "val_", "test_")))
        for name in names
    ]
    numbers = ("Training", "Validation", "Test")
    return table(("Metric", *numbers), rows, label="Metrics", numbers=numbers)


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _shape(shape: Sequence[int | None] | None) -> str:
    if shape is None:
        return "several"
    return (
        " \N{MULTIPLICATION SIGN} ".join("any" if size is None else f"{size}" for size in shape)
        or "one number"
    )


def _facts(title: str, facts: Iterable[tuple[str, object]]) -> Element:
    entries = []
    for fact, value in facts:
        entries += [tag("dt", text(fact.replace("_", " "))), tag("dd", text(_plain(value)))]
    return tag("div", tag("h3", title), tag("dl", *entries))


def _plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or NOTHING
    return NOTHING if value is None else value
