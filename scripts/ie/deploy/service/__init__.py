"""The packaged pipeline as a web service."""
