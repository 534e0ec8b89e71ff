"""Simulations that hold the statistics to what they claim, one module a part, on made data of known truth."""
