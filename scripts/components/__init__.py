"""Pipeline components that ship inside the package: each a module of its own that needs spaCy and what its
REQUIREMENTS name, and nothing else of this project.
"""
