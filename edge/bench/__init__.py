"""`auricle bench`: what this device gives and takes, measured so that it can be believed (docs/benchmarking.md)."""
