"""Pictures of training and of predictions, as PNG bytes."""

from trainer.figures.curves import training_curve
from trainer.figures.predictions import prediction_grid

__all__ = ["prediction_grid", "training_curve"]
