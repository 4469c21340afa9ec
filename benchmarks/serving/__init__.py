"""Load against the service, every figure beside a limit or a rival: start with `python -m benchmarks.serving`."""
