"""Options and arguments that several commands have."""

import click

JOB_ARGUMENT = click.argument("job_id", metavar="JOB")
TIMEOUT_OPTION = click.option(
    "--timeout", "timeout_s", type=float, metavar="SECONDS", help="Give up waiting after this."
)
RAW_OPTION = click.option(
    "--raw",
    "is_raw",
    is_flag=True,
    help="Put no ' before CSV cells that a spreadsheet would run as formulas.",
)
