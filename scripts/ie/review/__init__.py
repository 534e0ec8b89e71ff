"""Reviewing texts in the browser: what is asked, in which order, and how each answer gets on disk."""
