"""The training report: one HTML page that stands alone, and its figures as PNG files."""

from trainer.report.files import report_files
from trainer.report.material import ReportMaterial

__all__ = ["ReportMaterial", "report_files"]
