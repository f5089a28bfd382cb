"""Adapters between the local stream of `auricle serve` and other worlds; each a process of its own, so that its troubles stay its own."""
