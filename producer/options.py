"""Checks of what callers give as options: text, numbers, flags."""

from numbers import Integral, Real
from typing import TypeGuard

from fornada.errors import UsageError


def check_text(value: object, name: str) -> None:
    """Check an option that is text.

    Raises:
        UsageError: It is not.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}, of type {type(value).__name__}; give text")


def check_flag(value: object, name: str) -> None:
    """Check an option that is True or False.

    Raises:
        UsageError: It is neither.
    """
    if not isinstance(value, bool):
        raise UsageError(f"{name} is {value!r}; give True or False")


def check_count(value: object, name: str) -> None:
    """Check an option that is a whole number.

    Raises:
        UsageError: It is not.
    """
    if not is_whole_number(value):
        raise UsageError(f"{name} is {value!r}, of type {type(value).__name__}; give a count")


def check_seconds(value: object, name: str) -> None:
    """Check an option that is a number of seconds.

    Raises:
        UsageError: It is of another type.
    """
    if not is_number(value):
        raise UsageError(f"{name} is {value!r}, of type {type(value).__name__}; give seconds")


def is_number(value: object) -> TypeGuard[float]:
    """Whether an option is a number: neither text nor a bool."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_whole_number(value: object) -> TypeGuard[int]:
    """Whether an option is a whole number, and not a float that happens to be one."""
    return isinstance(value, Integral) and not isinstance(value, bool)
