"""Checks of a machine: what auricle needs, what is there, and what to do about each thing that is not. `auricle doctor` shows them."""

from __future__ import annotations

from edge.doctor.finding import Finding, Machine, State, examine

__all__ = ["Finding", "Machine", "State", "examine"]
