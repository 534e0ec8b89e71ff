"""Scores of spans, links, amounts, relations, categories and rows; baselines; history."""
