"""Listening logs with known structure, divided, for tests."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from soundalike.datasets.listening import Plays
from soundalike.datasets.made_listening import Made, Plan, make
from soundalike.evaluation import recommendations, splits
from soundalike.evaluation.heard import Dates, gather
from soundalike.evaluation.recommenders import Task, create

SIZES = {"full": (2000, 3000, 20), "small": (400, 600, 10), "tiny": (120, 150, 6)}

LEAK = 0.03
"""How much better than the chances a log was made with nothing can be, unless it looks ahead."""


class MadeLog:
    """A made log in the place of one in a file."""

    def __init__(self, made):
        self.made, self.users, self.items = made, made.user_ids, made.item_ids

    def plays(self):
        made = self.made
        ones = np.ones(len(made.users), dtype=np.int64)
        yield Plays(made.users.astype(np.int32), made.items.astype(np.int32), made.times, ones)


class Oracle:
    """Scores that the log was made with."""

    def __init__(self, made):
        self.made = made

    def fit(self, task):
        users = {name: n for n, name in enumerate(self.made.user_ids)}
        items = {name: n for n, name in enumerate(self.made.item_ids)}
        self.users = np.array([users[name] for name in task.split.user_ids])
        self.items = np.array([items[name] for name in task.split.item_ids])
        return {}

    def scores(self, users):
        return self.made.chances[np.ix_(self.users[users], self.items)].astype(np.float32)


@dataclass(frozen=True)
class World:
    made: Made
    split: splits.Split
    views: dict

    def worth(self, model, view=None, k=50, mode="test", **more):
        """Teach a recommender, by its name or itself, and give recall at k."""
        recommender = create(model) if isinstance(model, str) else model
        vectors = self.views[view] if isinstance(view, str) else view
        task = Task(self.split, vectors, **more)
        return recommendations.try_out(recommender, task, mode, [5, k])[0]

    def recall(self, model, view=None, k=50, **more):
        return float(self.worth(model, view, k, **more).of_users["recall"][k].mean())


@cache
def _made(flavour, size, seed):
    dates = Dates.parse()
    users, items, clusters = SIZES[size]
    plan = Plan(dates.start, dates.test, dates.end, flavour, users, items, clusters, seed)
    made = make(plan)
    return made, gather(MadeLog(made), dates)


@cache
def world(flavour="static", size="full", seed=8, protocol="warm"):
    """Make and divide a log; the same one is made once."""
    made, heard = _made(flavour, size, seed)
    split = splits.split(heard, protocol)
    place = {name: number for number, name in enumerate(made.item_ids)}
    rows = [place[name] for name in split.item_ids]
    return World(made, split, {name: view[rows] for name, view in made.views.items()})
