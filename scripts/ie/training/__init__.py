"""The training loop, many trainings side by side, and what is built on them."""
