"""One file per verb of the command line; each is imported only when its verb is used. Exit codes are the contract's."""

from __future__ import annotations

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
