"""Scores on perturbed texts, with other seeds and other batches."""
