"""The README's conversation, held with a running service: what a user's events change, and what a new item's text does.

    innerloop train --data ml-latest-small --out snapshots && innerloop serve
    python -m benchmarks.conversation --url http://127.0.0.1:8000

It prints Markdown. The items named are MovieLens's.
"""

from __future__ import annotations

import argparse
import json
import uuid
from typing import Any

import httpx

LIKED = {"541": "Blade Runner", "1214": "Alien", "924": "2001: A Space Odyssey"}
SAGA = {"260": "Star Wars", "1196": "The Empire Strikes Back", "1210": "Return of the Jedi"}
FEARED = {"1258": "The Shining", "1997": "The Exorcist", "1347": "A Nightmare on Elm Street"}


class Conversation:
    """Requests and what came back, printed as they go."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, timeout=120)

    def say(self, method: str, path: str, body: Any = None) -> Any:
        """One request, printed as curl; gives the answer."""
        shown = "" if body is None else f" \\\n      -H 'content-type: application/json' -d '{json.dumps(body)}'"
        verb = "" if method == "GET" else f"-X {method} "
        print(f"    $ curl -s {verb}'{self.url}{path}'{shown}")
        response = self.client.request(method, path, json=body)
        response.raise_for_status()
        return response.json()

    def show(self, answer: Any) -> list[str]:
        """The items of an answer, with titles and categories; gives the ids."""
        ids = [item["item_id"] for item in answer["items"]]
        for place, item_id in enumerate(ids, 1):
            item = self.client.get(f"/items/{item_id}").json()
            print(f"    {place:>4}. {item['title']}  [{', '.join(item['categories'])}]")
        print()
        return ids

    def top(self, user: str) -> list[str]:
        """A user's top 100, without printing them."""
        answer = self.client.post("/recommend", json={"user_id": user, "k": 100}).raise_for_status().json()
        return [item["item_id"] for item in answer["items"]]

    def share(self, ids: list[str], category: str) -> int:
        """How many of these items are in a category."""
        return sum(category in self.client.get(f"/items/{item_id}").json()["categories"] for item_id in ids)


def ranked(client: httpx.Client, user: str, category: str) -> list[str]:
    """All items of a category that a user has not seen, best first."""
    ranking: list[str] = []
    while True:
        asked = {"user_id": user, "k": 100, "filter": {"categories": [category]}, "exclude": ranking}
        found = client.post("/recommend", json=asked).raise_for_status().json()["items"]
        if not found:
            return ranking
        ranking += [each["item_id"] for each in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    options = parser.parse_args()
    talk = Conversation(options.url)
    ada, bob, cleo, dan, tag = (f"{name}-{uuid.uuid4().hex[:4]}" for name in ("ada", "bob", "cleo", "dan", "new"))

    print("A user nobody has met gets what suits most who begin:\n")
    before = talk.show(talk.say("GET", f"/recommend?user_id={ada}&k=10"))
    print(f"Three events ({', '.join(LIKED.values())}), and the next answer, at once:\n")
    events = [{"user_id": ada, "item_id": item, "kind": "like"} for item in LIKED]
    answer = talk.say("POST", "/events", {"events": events})
    print(f'    {{"results":[{{"event_id":...,"status":"accepted"}},...],"accepted":{answer["accepted"]}}}')
    after = talk.show(talk.say("GET", f"/recommend?user_id={ada}&k=10"))
    print(
        f"Science fiction in the top 10: {talk.share(before, 'Sci-Fi')} before, {talk.share(after, 'Sci-Fi')} after.\n"
    )

    shy = talk.share(talk.top(bob), "Horror")
    print(f"Three low ratings of horror films ({', '.join(FEARED.values())}):\n")
    low = [{"user_id": bob, "item_id": item, "kind": "rating", "value": 0.5} for item in FEARED]
    talk.say("POST", "/events", {"events": low})
    high = [event | {"user_id": dan, "value": 5.0} for event in low]
    talk.client.post("/events", json={"events": high}).raise_for_status()
    low_after, high_after = (talk.share(talk.top(user), "Horror") for user in (bob, dan))
    print(f"\nHorror in that user's top 100: {shy} before, {low_after} after; {high_after} after three high ones.\n")

    print("Two new films, known by their text alone; the first item that a service is given loads the text encoder,")
    print("for some seconds:\n")
    scary, space = f"{tag}-1", f"{tag}-2"
    films = [
        {
            "item_id": scary,
            "title": "The Haunted Cellar (2026)",
            "text": "A demon stalks teenagers in an old house.",
            "categories": ["Horror"],
        },
        {
            "item_id": space,
            "title": "Starfall Station (2026)",
            "text": "A rebel pilot and a droid fight an evil galactic empire in space.",
            "categories": ["Action", "Adventure", "Sci-Fi"],
        },
    ]
    talk.say("PUT", "/items", {"items": films})
    print("\nWhere each then stands, before anyone has touched it:\n")
    for item, taken, category in ((scary, FEARED, "Horror"), (space, SAGA, "Sci-Fi")):
        fan = f"{cleo}-{item[-1]}"
        liked = [{"user_id": fan, "item_id": liked, "kind": "like"} for liked in taken]
        talk.client.post("/events", json={"events": liked}).raise_for_status()
        title = next(film["title"] for film in films if film["item_id"] == item)
        for who, whose in ((fan, f"who liked {', '.join(taken.values())}"), (f"{fan}x", "nobody has met")):
            ranking = ranked(talk.client, who, category)
            print(f"    {title}, for a user {whose}: {ranking.index(item) + 1} of {len(ranking)} in {category}")


if __name__ == "__main__":
    main()
