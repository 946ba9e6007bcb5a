"""WHEN and in which order: publishing, the command line, and six files that stand on one another.

* `graph`: DVC's graph, opened and in order. `states` tells what of it is stale; `update` brings one stage up to date
  and records it.
* `walk`: one run over the graph, every stage in order, under the project's lock, noted in .perennial/last_run.json.
* `timeline`: the same walk as a Prefect flow, for schedules and for those who have a Prefect server.
* `run`: the command `perennial run`. It walks, through `timeline` where there is a server, and prints what came of it.

For `perennial methods`, `comparing`, `mapping` and `methods` are what `walk`, `timeline` and `run` are for this one.
"""
