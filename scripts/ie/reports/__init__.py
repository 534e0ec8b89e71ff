"""HTML pages, terminal tables, plots, templates and static files."""
