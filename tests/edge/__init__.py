"""Repositories as no tutorial has them: made by a script, each with what must come of it."""
