"""LitServe with the same learner and its own batching: `python -m benchmarks.serving.lit litserve --port P`."""

import argparse
from typing import Any

import litserve

from benchmarks.serving.plain import MOST, PATIENCE, Plain


class Recommend(litserve.LitAPI):  # type: ignore[misc]
    """The learner behind LitServe's queue, in a process of its own."""

    def setup(self, device: str) -> None:  # noqa: ARG002
        self.plain = Plain()

    # Without a type, LitServe gives the body as parsed.
    def decode_request(self, request):  # type: ignore[no-untyped-def]
        return str(request["user_id"])

    def batch(self, inputs: list[str]) -> list[str]:
        return inputs

    def predict(self, users: list[str]) -> list[dict[str, Any]]:
        return self.plain.recommend(users)

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contender")
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    api = Recommend(max_batch_size=MOST, batch_timeout=PATIENCE, api_path="/recommend")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
