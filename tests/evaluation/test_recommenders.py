from collections import Counter, defaultdict
from dataclasses import fields, replace

import numpy as np
import pytest

from soundalike.errors import BadRequest
from soundalike.evaluation import recommenders
from soundalike.evaluation.recommenders import KEYS, Task, create, training
from tests.evaluation.worlds import world

VIEW = "audio1"
NETWORKS = {
    "snn": "snn:epochs=2,batch=2000,stop_on=never",
    "bert4rec": "bert4rec:epochs=2,stop_on=never,max_len=20,infer_len=20",
}


@pytest.fixture(scope="module")
def tiny():
    return world("static", "tiny")


def histories(split):
    found = defaultdict(list)
    for user, item in zip(split.train.users, split.train.items, strict=True):
        found[int(user)].append(int(item))
    return found


def fitted(name, here, vectors=None, **more):
    model = create(name)
    model.fit(Task(here.split, vectors, **more))
    return model


def cosine(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b)


def test_popularity_counts_users(tiny):
    counts = Counter(tiny.split.train.items.tolist())
    scores = fitted("popularity", tiny).scores(np.array([0, 5]))
    assert scores.shape == (2, len(tiny.split.item_ids))
    assert [scores[1, item] for item in (0, 7, 40)] == [counts[item] for item in (0, 7, 40)]


def test_item_item_sums_cosines_of_columns(tiny):
    split = tiny.split
    table = np.zeros((len(split.user_ids), len(split.item_ids)))
    table[split.train.users, split.train.items] = 1
    columns = table / np.linalg.norm(table, axis=0)
    expected = table @ (columns.T @ columns)
    users = np.array([3, 0, 11])
    np.testing.assert_allclose(fitted("item-item", tiny).scores(users), expected[users], rtol=1e-4)


WEIGHTS = {
    "knn": lambda plays, later: 1.0,
    "knn:weight=count": lambda plays, later: plays,
    "knn:weight=log-count": lambda plays, later: 1 + np.log(plays),
    "knn:weight=recency": lambda plays, later: 0.5 ** (later / 10),
    "knn:last=3": lambda plays, later: float(later < 3),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_knn_is_the_cosine_with_a_weighted_mean(tiny, name):
    split, vectors = tiny.split, tiny.views[VIEW].astype(float)
    user = 4
    pairs = zip(split.train.users, split.train.items, strict=True)
    plays = dict(zip(pairs, split.train.plays, strict=True))
    items = histories(split)[user]
    weights = [
        WEIGHTS[name](plays[user, item], len(items) - 1 - place) for place, item in enumerate(items)
    ]
    profile = np.average(vectors[items], axis=0, weights=weights)
    expected = [cosine(profile, vector) for vector in vectors]
    scores = fitted(name, tiny, tiny.views[VIEW]).scores(np.array([user]))[0]
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_knn_can_centre_and_scale_first(tiny):
    vectors = tiny.views[VIEW].astype(float)
    moved = vectors - vectors.mean(axis=0)
    moved /= np.linalg.norm(moved, axis=1, keepdims=True)
    profile = moved[histories(tiny.split)[2]].mean(axis=0)
    expected = [cosine(profile, vector) for vector in moved]
    model = fitted("knn:centre=yes,normalise=yes", tiny, tiny.views[VIEW])
    np.testing.assert_allclose(model.scores(np.array([2]))[0], expected, atol=1e-5)


@pytest.mark.parametrize("name", ["random", *NETWORKS.values()])
def test_the_same_seed_gives_the_same_scores(tiny, name):
    users = np.arange(5)
    found = [
        fitted(name, tiny, tiny.views[VIEW], seed=seed).scores(users).tobytes()
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize("name", NETWORKS.values())
@pytest.mark.parametrize("stop_on", ["never", "train"])
def test_a_fit_that_was_broken_off_goes_on_to_the_same(tiny, tmp_path, name, stop_on):
    name = name.replace("stop_on=never", f"stop_on={stop_on}")
    more = {"vectors": tiny.views[VIEW], "seed": 3}
    whole = fitted(name, tiny, **more).scores(np.arange(5))
    fitted(name.replace("epochs=2", "epochs=1"), tiny, **more, folder=tmp_path)
    again = create(name)
    notes = again.fit(Task(tiny.split, **more, folder=tmp_path))
    assert (notes["resumed_at"], notes["epochs"]) == (1, 2)
    assert again.scores(np.arange(5)).tobytes() == whole.tobytes()
    # another seed begins anew
    assert (
        create(name).fit(Task(tiny.split, tiny.views[VIEW], 4, folder=tmp_path))["resumed_at"] == 0
    )


def test_checkpoints_hold_no_code(tiny, tmp_path):
    import torch

    fitted(NETWORKS["snn"], tiny, tiny.views[VIEW], folder=tmp_path)
    (path,) = tmp_path.iterdir()
    assert torch.load(path, weights_only=True)["epoch"] == 2


def checkpoint(folder):
    (path,) = folder.glob("*.pt")
    return path


@pytest.mark.parametrize("damage", ["cut", "no checkpoint", "another network"])
def test_a_damaged_checkpoint_is_refused_by_name(tiny, tmp_path, damage):
    import torch

    fitted(NETWORKS["snn"], tiny, tiny.views[VIEW], folder=tmp_path)
    path = checkpoint(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"no checkpoint")
    if damage == "another network":
        torch.save({"net": {}, "optimiser": {}, "plateau": {}}, path)
    with pytest.raises(BadRequest, match=f"{path.name}.*Delete it"):
        fitted(NETWORKS["snn"], tiny, tiny.views[VIEW], folder=tmp_path)


@pytest.mark.parametrize("changed", ["code_version", "device"])
def test_a_checkpoint_of_other_code_or_another_device_is_not_gone_on_from(
    tiny, tmp_path, monkeypatch, changed
):
    task = Task(tiny.split, tiny.views[VIEW], folder=tmp_path)
    options = create("snn").options
    before = training._checkpoint_path(task, options, "snn")
    assert before == training._checkpoint_path(task, options, "snn")
    if changed == "code_version":
        monkeypatch.setattr(training, "code_version", lambda: "1+other")
    else:
        task = replace(task, device="cuda")
    assert training._checkpoint_path(task, options, "snn") != before


def test_it_stops_when_nothing_gets_better(tiny, monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.1, 2.2, 2.3, 1.0])
    name = "bert4rec:epochs=50,patience=3,max_len=5,infer_len=5"
    monkeypatch.setattr(
        "soundalike.evaluation.recommenders.bert4rec._Network.validation_loss",
        lambda self: next(losses),
    )
    kept = {}
    monkeypatch.setattr(training.Training, "_save", lambda self: kept.setdefault(
        self._state.epoch, {k: v.clone() for k, v in self.trainee.net.state_dict().items()}
    ))  # fmt: skip
    model = create(name)
    notes = model.fit(Task(tiny.split, tiny.views[VIEW]))
    assert (notes["epochs"], notes["best_epoch"]) == (5, 2)
    weights = model._network.net.state_dict()
    assert all((weights[key] == kept[2][key]).all() for key in weights)


def test_last_items_are_held_out_of_several(tiny):
    kept, held = training.hold_out(tiny.split.train, 0)
    assert len(kept.users) + len(held.users) == len(tiny.split.train.users)
    ordered = histories(tiny.split)
    assert all(ordered[u][-1] == i for u, i in zip(held.users, held.items, strict=True))
    assert len(held.users) == round(0.1 * len(tiny.split.user_ids))
    assert set(kept.users) == set(tiny.split.train.users)


@pytest.mark.parametrize("options", ["items=frozen,users=trained", "items=trained,users=fixed"])
def test_snn_moves_what_it_is_told_to(tiny, options):
    from soundalike.evaluation.recommenders.snn import ITEM, USER, _Towers

    model = create(f"snn:{options},scale=raw,stop_on=never,epochs=1")
    task = Task(tiny.split, tiny.views[VIEW])
    towers = _Towers(task, model.options)
    before = {side: towers.net.get_parameter(f"{side}.weight").clone() for side in (USER, ITEM)}
    np.testing.assert_array_equal(before[ITEM].detach(), tiny.views[VIEW])
    mean = tiny.views[VIEW][histories(tiny.split)[6]].mean(axis=0)
    np.testing.assert_allclose(before[USER][6].detach(), mean, rtol=1e-4)
    training.Training(towers, task, model.options, "snn").run()
    for side, word in ((USER, "users"), (ITEM, "items")):
        moved = bool((before[side] != towers.net.get_parameter(f"{side}.weight")).any())
        assert moved == (f"{word}=trained" in options)


def test_snn_loss_is_the_hinge(tiny):
    import torch

    from soundalike.evaluation.recommenders.snn import _Towers

    for negatives in ("users", "items"):
        model = create(f"snn:negatives={negatives},count=3,confidence=log-count,stop_on=never")
        towers = _Towers(Task(tiny.split, tiny.views[VIEW]), model.options)
        chosen = np.array([5, 17, 30])
        torch.manual_seed(1)
        loss = towers._loss(tiny.split.train, chosen).item()
        torch.manual_seed(1)
        drawn = torch.randint(towers._pool(), (3, 3)).numpy()
        users, items = (towers.all_outputs(side).astype(float) for side in ("user", "item"))
        each = []
        for row, place in enumerate(chosen):
            u, i = tiny.split.train.users[place], tiny.split.train.items[place]
            against = users[drawn[row]] @ items[i] if negatives == "users" else (
                items[drawn[row]] @ users[u]
            )  # fmt: skip
            hinge = np.maximum(0, 0.2 - users[u] @ items[i] + against).mean()
            each.append(hinge * (1 + 2 * np.log1p(tiny.split.train.plays[place])))
        assert loss == pytest.approx(np.mean(each), rel=1e-4)


def test_snn_draws_from_all_users_but_not_the_papers_way(tiny):
    from soundalike.evaluation.recommenders.snn import _Towers

    users = len(tiny.split.user_ids)
    for name, preset, pool in (("snn", "sound", users), ("snn", "paper", users - 1)):
        options = create(f"{name}:stop_on=never", preset).options
        assert _Towers(Task(tiny.split, tiny.views[VIEW]), options)._pool() == pool


def network(tiny, options=""):
    from soundalike.evaluation.recommenders.bert4rec import _Network

    model = create(f"bert4rec:stop_on=never,max_len=20,infer_len=20{options}")
    made = _Network(Task(tiny.split, tiny.views[VIEW]), model.options)
    made.net.eval()
    return made


def test_bert4rec_begins_with_scaled_vectors_and_ties_its_head(tiny):
    made = network(tiny)
    table = made.net.get_parameter("table.weight").detach().numpy()
    unit = tiny.views[VIEW] / np.linalg.norm(tiny.views[VIEW], axis=1, keepdims=True)
    np.testing.assert_allclose(table[:-2], unit * 0.02 * np.sqrt(64), rtol=1e-4)
    assert not table[-1].any()
    raw = network(tiny, ",scale=raw").net.get_parameter("table.weight").detach().numpy()
    np.testing.assert_array_equal(raw[:-2], tiny.views[VIEW])
    history = [np.array([3, 1, 4])]
    encoded = made._encoded(made._padded([np.array([3, 1, 4, made.mask])]), made._words())
    expected = encoded[0, -1].detach().numpy() @ table.T
    np.testing.assert_allclose(made.next_logits(history)[0].detach(), expected, atol=1e-5)


def test_bert4rec_scores_hang_on_the_order_and_not_on_the_batch(tiny):
    made = network(tiny)
    histories_ = [np.array([3, 1, 4, 1, 5]), np.array([9]), np.array([5, 1, 4, 1, 3])]
    together = made.next_logits(histories_).detach().numpy()
    alone = np.concatenate([made.next_logits([one]).detach().numpy() for one in histories_])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.abs(together[0] - together[2]).max() > 1e-4
    longer = made.next_logits([np.arange(40)]).detach().numpy()
    cut = made.next_logits([np.arange(40)[-19:]]).detach().numpy()
    np.testing.assert_array_equal(longer, cut)


def test_bert4rec_leaves_out_items_alone(tiny):
    import torch

    made = network(tiny)
    sequences = made._padded([np.arange(n % 15 + 1) for n in range(4000)])
    torch.manual_seed(0)
    out = made._left_out(sequences, 0.0)
    there = sequences != made.filler
    assert not (out & ~there).any()
    assert float(out.sum() / there.sum()) == pytest.approx(0.2, abs=0.01)
    last = made._left_out(sequences, 1.0)
    assert last[:, -1].all()
    assert not last[:, :-1].any()


def test_what_is_published_is_what_the_preset_says():
    paper = {key: create(key, "paper").options.as_dict() for key in KEYS}
    assert (paper["snn"]["items"], paper["snn"]["users"]) == ("trained", "fixed")
    bert = paper["bert4rec"]
    assert (bert["max_len"], bert["infer_len"], bert["last_mask_prob"]) == (300, 50, 0.0)
    assert (bert["scale"], bert["stop_on"]) == ("raw", "month")
    sound = create("bert4rec").options
    assert sound.max_len == sound.infer_len
    assert create("bert4rec:max_len=7", "paper").options.max_len == 7


@pytest.mark.parametrize(
    "name",
    ["", "als", "knn:weigth=none", "knn:weight=heavy", "knn:last=-1", "knn:last=x", "snn:rate=nan",
     "bert4rec:epochs=0", "bert4rec:mask_prob=1.1", "snn:margin=inf", "popularity:k=3"],
)  # fmt: skip
def test_unknown_recommenders_and_options_are_refused(name):
    with pytest.raises(BadRequest):
        create(name)


def test_what_cannot_be_learned_is_refused(tiny):
    with pytest.raises(BadRequest, match="--embedding"):
        fitted("knn", tiny)
    with pytest.raises(BadRequest, match="projection"):
        fitted("bert4rec:epochs=1", tiny, tiny.views[VIEW][:, :63])
    with pytest.raises(BadRequest, match="stop_pairs"):
        fitted("bert4rec:epochs=1,stop_on=month,stop_pairs=1000", tiny, tiny.views[VIEW])
    with pytest.raises(BadRequest, match="no preset"):
        create("knn", "papyrus")


@pytest.mark.parametrize(
    "name",
    ["snn:epochs=1,stop_on=month,negatives=items", "snn:epochs=1,user_start=random,hidden=8",
     "bert4rec:epochs=1,stop_on=month,stop_pairs=2",
     "bert4rec:epochs=1,projection=32,items=frozen"],
)  # fmt: skip
@pytest.mark.parametrize("vectors", [True, False])
def test_every_way_gives_finite_scores(tiny, name, vectors):
    model = fitted(name, tiny, tiny.views[VIEW] if vectors else None)
    scores = model.scores(np.arange(4))
    assert scores.shape == (4, len(tiny.split.item_ids))
    assert np.isfinite(scores).all()


def test_every_option_is_explained_in_the_documentation(root):
    text = (root / "docs" / "evaluation.md").read_text()
    for key in KEYS:
        for option in fields(recommenders.kind(key).options_type):
            assert f"| `{option.name}` |" in text, (key, option.name)
