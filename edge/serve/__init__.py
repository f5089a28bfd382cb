"""One process listens, many programs take what it hears: a stream of records, to which everything else is an adapter (docs/serving.md)."""
