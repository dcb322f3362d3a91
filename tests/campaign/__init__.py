"""Real faults against a cluster of real processes, and the proof that nothing was lost."""
