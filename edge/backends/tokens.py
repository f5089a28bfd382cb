"""Hugging Face's tokenizer.json through `tokenizers`; the only file that imports it, and only for bundles that bring one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edge.errors import BackendError
from edge.types import Samples


class Tokens:
    """Texts of token ids. Raises: BackendError when `tokenizers` is absent or refuses the file."""

    def __init__(self, data: bytes, name: str) -> None:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise BackendError(
                f"{name}: its text needs the package tokenizers ({error}); install it with: pip install 'auricle[speech]'"
            ) from error
        try:
            self._tokenizer = Tokenizer.from_str(data.decode("utf-8"))
        except Exception as error:  # tokenizers raises bare Exception
            raise BackendError(f"{name}: tokenizers cannot read it ({str(error)[:160]}); fetch the bundle again") from error

    def text(self, tokens: Sequence[int]) -> str:
        """Special tokens and an incomplete character at the end are left out, as is the space before the first word."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True)).removesuffix("\ufffd").lstrip()


def log_probability(logits: Samples, token: int) -> float:
    """Log-softmax in float64, natural log."""
    wide = logits.astype(np.float64)
    highest = wide.max()
    return float(wide[token] - highest - np.log(np.exp(wide - highest).sum()))
