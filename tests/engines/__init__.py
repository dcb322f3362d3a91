"""Real container engines for tests, and images made on the spot: no registry is needed."""
