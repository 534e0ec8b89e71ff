"""Better silver, and better use of it: recipes, their comparison, its report."""
