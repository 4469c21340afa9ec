"""Ray Serve with the same learner and its @serve.batch: `python -m benchmarks.serving.ray_serve ray --port P`."""

import argparse
import os
import signal
import threading
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request

from benchmarks.serving.plain import MOST, PATIENCE, Plain

ROOT = Path(__file__).parents[2]


class Recommend:
    """The learner in a replica of its own, behind Ray's proxy."""

    def __init__(self) -> None:
        self.plain = Plain()

    async def __call__(self, request: Request) -> dict[str, Any]:
        answer: dict[str, Any] = await self.answer((await request.json())["user_id"])
        return answer

    @serve.batch(max_batch_size=MOST, batch_wait_timeout_s=PATIENCE)  # type: ignore[untyped-decorator]
    async def answer(self, users: list[str]) -> list[dict[str, Any]]:
        return self.plain.recommend(users)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    # Ray's processes inherit the environment, not the path of imports.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S"] = "120"  # a busy machine is slow to import it
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=options.port))
    deployment: Any = serve.deployment(Recommend, max_ongoing_requests=1024)
    serve.run(
        deployment.bind(),
        route_prefix="/recommend",
        logging_config={"log_level": "WARNING", "enable_access_log": False},
    )
    stopped.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
