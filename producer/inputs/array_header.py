"""The header of a stored array, checked before its data are read."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fornada.errors import InputError
from fornada.formats.items import check_shape
from fornada.formats.npy import read_npy_header


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayHeader:
    """What an array claims to be."""

    #: File or object, for error messages.
    where: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    #: Where the data begin.
    header_bytes: int

    @classmethod
    def of_npy(cls, head: bytes, *, where: str) -> Self:
        """The header at the start of a `.npy` file.

        Raises:
            InputError: It is not a plain array.
        """
        shape, dtype, header_bytes = read_npy_header(head, where=where)
        return cls(where=where, shape=shape, dtype=dtype, header_bytes=header_bytes)

    def check_size(self, size_bytes: int) -> None:
        """Check that a file of `size_bytes` holds the array and nothing else.

        Raises:
            InputError: It does not.
        """
        claimed_bytes = math.prod(self.shape) * self.dtype.itemsize
        present_bytes = size_bytes - self.header_bytes
        if claimed_bytes != present_bytes:
            raise InputError(
                f"{self.where} claims {claimed_bytes} bytes of data (shape {self.shape}, "
                f"{self.dtype}) and has {present_bytes}; it is truncated or damaged, write it again"
            )

    def check_items(
        self, item_shape: Sequence[int | None], *, model: str = "the model"
    ) -> tuple[int, ...]:
        """The shape of the rows, which are items of `item_shape` give or take a last axis of 1.

        Raises:
            InputError: They are not, or there are none.
        """
        return check_shape(self.shape, item_shape, model=model, where=self.where)
