"""What reaches a GPU: one process of Fornada beside what the card and the store path do alone.

`benchmarks/gpu.sh` runs it where there is no network, with wheels that `benchmarks.gpu.wheels`
fetched before.
"""
