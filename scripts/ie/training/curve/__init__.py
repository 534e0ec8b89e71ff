"""Learning curve: nested portions, projection, report."""
