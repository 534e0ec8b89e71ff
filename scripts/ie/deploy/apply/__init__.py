"""Annotating files of any size, by a pipeline or a language model, with resumable results."""
