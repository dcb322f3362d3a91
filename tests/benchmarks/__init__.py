"""That the benchmarks run and print; what they print is for people and is not judged here."""
