"""The opponents that do not ship, and the adapters of those that do. Each is a `benchmarks.task.Contender`."""
