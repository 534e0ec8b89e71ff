"""Retrieval by information extraction (slides 12-18): a database of what was found, and questions to it."""
