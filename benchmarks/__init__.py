"""Side-by-side benchmarks of ckmeans and its peers: ``python -m benchmarks --list``."""
