import argparse
import csv
import json
import signal
import subprocess
import sys
from datetime import datetime
from xml.etree import ElementTree

import numpy as np
import pytest
from scipy import stats

from soundalike import embedders
from soundalike.cli import main, recommenders, sonic
from soundalike.datasets import item_vectors
from soundalike.embedders import weights
from soundalike.errors import WeightsMissing
from soundalike.evaluation.version import code_version
from tests.evaluation.worlds import world
from tests.sounds import encoded, tone


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    """A small made log in files, as scripts/make_listening_log.py leaves them."""
    folder = tmp_path_factory.mktemp("log")
    made = world("static", "tiny").made
    moments = made.times.astype("datetime64[ms]").astype(datetime)
    with (folder / "log.tsv").open("w") as file:
        file.write("user_id\ttrack_id\ttimestamp\n")
        for user, item, moment in zip(made.users, made.items, moments, strict=True):
            file.write(f"{made.user_ids[user]}\t{made.item_ids[item]}\t{moment}\n")
    with (folder / "metadata.csv").open("w") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *made.metadata])
        writer.writerows(zip(made.item_ids, *made.metadata.values(), strict=True))
    for name in ("audio1", "lyrics"):
        path = folder / "embeddings" / f"{name}_embeddings.parquet"
        item_vectors.write(path, made.item_ids, made.views[name])
    path = folder / "embeddings" / "half_64.parquet"
    item_vectors.write(path, made.item_ids[:120], made.views["audio1"][:120])
    return folder


def run(log, capsys, *arguments):
    common = ["--embeddings-dir", str(log / "embeddings"), "--k", "5,10"]
    code = main(["evaluate", "recommend", str(log / "log.tsv"), *common, *map(str, arguments)])
    return code, capsys.readouterr()


def rows_of(log, capsys, *arguments):
    code, said = run(log, capsys, *arguments, "--json")
    told = json.loads(said.out)
    return code, told["rows"]


def test_models_and_embeddings_side_by_side_with_all_that_matters(log, capsys):
    code, rows = rows_of(
        log, capsys, "--embedding", "audio1_64", "--embedding", "audio1_64+0.5*lyrics_32"
    )
    assert code == 0
    assert [(row["model"], row["embedding"]) for row in rows] == [
        ("knn", "audio1_64"), ("knn", "audio1_64+0.5*lyrics_32"),
        ("random", "none"), ("popularity", "none"), ("item-item", "none"),
    ]  # fmt: skip
    here = world("static", "tiny")
    expected = here.worth("knn", "audio1", k=10).of_users["recall"][10]
    first = rows[0]
    assert first["metrics"]["recall"]["10"]["mean"] == pytest.approx(expected.mean(), abs=1e-6)
    low, high = first["metrics"]["recall"]["10"]["interval"]
    assert low < expected.mean() < high
    assert first["users"] == len(here.split.test)
    assert first["candidates"] == here.split.warm
    assert first["fingerprint"]["split"] == here.split.fingerprint()
    assert first["code"] == code_version()
    assert first["options"] == {"weight": "none", "last": 0, "normalise": "no", "centre": "no"}
    assert first["dates"] == {"start": "2018-02-20", "test": "2019-01-20", "end": "2019-02-20"}
    assert first["log"]["rows"] == len(here.made.users)
    assert rows[0]["fingerprint"]["vectors"] != rows[1]["fingerprint"]["vectors"]
    assert rows[2]["fingerprint"]["vectors"] is None


def test_the_same_seed_gives_the_same_table(log, capsys):
    arguments = ["--embedding", "audio1_64", "--model", "snn:epochs=2,batch=500", "--seed", "3"]
    tables = [run(log, capsys, *arguments)[1].out for _ in range(2)]
    assert tables[0] == tables[1]
    assert tables[0] != run(log, capsys, *arguments[:-1], "4")[1].out
    assert tables[0].splitlines()[5].startswith("chance")
    assert "recall@10" in tables[0].splitlines()[0]


KILLED = """
import os, signal, sys
from pathlib import Path
from soundalike.cli import main
replace, saved = Path.replace, []

def dying(self, target):
    saved.append(target)
    if len(saved) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(self, target)

Path.replace = dying
main(sys.argv[1:])
"""


def test_a_run_that_was_killed_goes_on_to_the_same_table(log, tmp_path, capsys):
    """Killed while it writes the second checkpoint of the second network, of two epochs each."""
    arguments = [
        "--embedding", "audio1_64", "--k", "5,10", "--seed", "3",
        "--model", "snn:epochs=2,stop_on=never", "--model", "bert4rec:epochs=2,patience=1",
    ]  # fmt: skip
    common = ["evaluate", "recommend", log / "log.tsv", "--embeddings-dir", log / "embeddings"]
    kept = ["--checkpoints", tmp_path]
    command = [sys.executable, "-c", KILLED, *map(str, [*common, *arguments, *kept])]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    _, whole = rows_of(log, capsys, *arguments)
    _, resumed = rows_of(log, capsys, *arguments, *kept)
    assert [row["training"].get("resumed_at") for row in resumed[:3]] == [2, 1, None]
    for row in (*whole, *resumed):
        row["training"] = row["training"].get("best_epoch")
    assert resumed == whole


def test_what_is_not_there_is_said_and_not_made_up(log, capsys):
    code, rows = rows_of(
        log, capsys, "--embedding", "audio1_64", "--embedding", "mert_768", "--embedding", "x_3"
    )
    assert code == 1
    assert rows[1]["reason"] == "weights missing"
    assert "no vectors" in rows[2]["reason"]
    assert all("metrics" not in row for row in rows[1:3])
    assert "metrics" in rows[0]


def without_weights():
    """The cards of embedders whose weights are not here, as none but our own are in tests."""
    for card in embedders.cards().values():
        if card.weights is not None:
            try:
                weights.folder(card.key, card.weights)
            except WeightsMissing:
                yield card


def test_no_embedder_without_weights_gets_a_figure(log, tmp_path, capsys):
    names = [f"{card.key.replace('-', '_')}_{card.dim}" for card in without_weights()]
    names += ["crepe_tiny_20", "mert_7_768", "M2V"]
    asked = [word for name in names for word in ("--embedding", name)]
    code, rows = rows_of(log, capsys, *asked, "--no-baselines", "--embeddings-dir", tmp_path)
    assert code == 1
    assert {f"dino_{kind}" for kind in ("vits16_384", "vits8_384", "vitb16_768", "vitb8_768")} < {
        row["embedding"] for row in rows
    }
    assert [row["reason"] for row in rows] == ["weights missing"] * len(names)
    assert not any("metrics" in row for row in rows)


def test_rows_are_compared_with_the_first_user_by_user(log, capsys):
    asked = ["--embedding", "audio1_64", "--embedding", "lyrics_32"]
    _, rows = rows_of(log, capsys, *asked)
    here = world("static", "tiny")
    figures = [here.worth("knn", name, k=10).of_users["ndcg"][10] for name in ("audio1", "lyrics")]
    theirs = stats.ttest_rel(figures[1], figures[0])
    told = rows[1]["metrics"]["ndcg"]["10"]["less_the_first"]
    assert (told["t"], told["p"]) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-3)
    assert told["difference"] == pytest.approx(np.mean(figures[1] - figures[0]), abs=1e-6)
    assert rows[0]["metrics"]["ndcg"]["10"]["less_the_first"] is None
    _, own = rows_of(log, capsys, *asked[:2], "--embedding", "half_64", "--items", "own")
    assert own[1]["metrics"]["ndcg"]["10"]["less_the_first"] is None


def test_what_was_not_used_is_told_below_the_table(log, tmp_path, capsys):
    text = (log / "log.tsv").read_text()
    again = text.splitlines()[1]
    (tmp_path / "log.tsv").write_text(f"{text}{again}\nu\ti\t2999-01-01\nu\t\t2018-05-05\n")
    (tmp_path / "embeddings").symlink_to(log / "embeddings")
    values = world("static", "tiny").made.views["audio1"].copy()
    values[3] = 7.0
    ids = world("static", "tiny").made.item_ids
    item_vectors.write(tmp_path / "flat.parquet", ids, values)
    _, said = run(tmp_path, capsys, "--embedding", "half_64", "--no-baselines")
    rows = len(text.splitlines()) - 1
    assert f"{rows + 3} rows, 2 of them not used (no_item 1, future 1), 1 equal to" in said.out
    assert "30 of 150 items have no vector" in said.out
    assert "recall sum(h(r), r <= k) / m;" in said.out
    _, said = run(log, capsys, "--embedding", "flat", "--embeddings-dir", tmp_path)
    assert "flat: 1 rows say nothing" in said.out


def test_embeddings_are_compared_on_the_items_that_all_have(log, capsys):
    arguments = ["--embedding", "audio1_64", "--embedding", "half_64", "--no-baselines"]
    _, rows = rows_of(log, capsys, *arguments)
    for of_k in rows[1]["metrics"].values():
        assert {figure["less_the_first"]["difference"] for figure in of_k.values()} == {0}
    assert rows[0]["counts"]["pairs_without_vector"] > 0
    _, own = rows_of(log, capsys, *arguments, "--items", "own")
    assert own[0]["candidates"] > own[1]["candidates"] == rows[0]["candidates"]
    _, flagged = rows_of(log, capsys, *arguments, "--missing", "flag")
    assert flagged[1]["candidates"] == own[0]["candidates"]
    assert flagged[0]["metrics"] != flagged[1]["metrics"]


def test_metadata_is_a_block(log, capsys):
    arguments = ["--embedding", "audio1_64+metadata", "--no-baselines", "--metadata"]
    _, (every,) = rows_of(log, capsys, *arguments, log / "metadata.csv")
    _, (genre,) = rows_of(log, capsys, *arguments, f"{log / 'metadata.csv'}:genre")
    assert every["metrics"] != genre["metrics"]
    code, said = run(log, capsys, *arguments[:-1])
    assert code == 2
    assert "--metadata FILE" in said.err
    apart = [f"{log / 'metadata.csv'}:genre", "--metadata", f"{log / 'metadata.csv'}:artist"]
    together = f"{log / 'metadata.csv'}:genre,artist"
    several = [rows_of(log, capsys, *arguments, *one)[1][0] for one in (apart, [together])]
    assert several[0]["metrics"] == several[1]["metrics"]


def test_a_model_that_cannot_is_told_in_its_row(log, capsys):
    arguments = ["--embedding", "audio1_64", "--protocol", "cold", "--model"]
    code, rows = rows_of(log, capsys, *arguments, "bert4rec", "--model", "knn", "--no-baselines")
    assert code == 1
    assert "not in its vocabulary" in rows[0]["reason"]
    assert rows[1]["protocol"] == "cold"


def test_csv_and_picture_hold_every_figure(log, tmp_path, capsys):
    out, picture = tmp_path / "out.csv", tmp_path / "out.svg"
    arguments = ["--embedding", "audio1_64", "--csv", out, "--svg", picture]
    _, rows = rows_of(log, capsys, *arguments)
    lines = list(csv.DictReader(out.open()))
    assert len(lines) == 4 * (6 + 3) * 2
    line = next(one for one in lines if (one["metric"], one["k"]) == ("ndcg", "10"))
    assert float(line["mean"]) == rows[0]["metrics"]["ndcg"]["10"]["mean"]
    assert line["split"] == rows[0]["fingerprint"]["split"]
    root = ElementTree.fromstring(picture.read_text())
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 4 * 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--model", "als"],
        ["--model", "knn:weight=heavy"],
        ["--protocol", "tepid"],
        ["--mode", "train"],
        ["--metric", "luck"],
        ["--preset", "papyrus"],
        ["--k", "0"],
        ["--embedding", "a++b"],
        ["--embedding", "audio1_63"],
        ["--start", "2030-01-01"],
        ["--seed", "-1"],
        ["--bad-share", "7"],
        ["--device", "abacus"],
        ["--start", "2001-01-01", "--test", "2002-01-01", "--end", "2003-01-01"],
    ],
)
def test_wrong_use_is_2(log, arguments, capsys):
    code, said = run(log, capsys, *arguments)
    assert code == 2
    assert said.err


def test_the_papers_preset_takes_its_dates_and_options(log, capsys):
    code, said = run(log, capsys, "--preset", "paper")
    assert code == 2
    assert "of 1" in said.err  # no play of this log is as late
    dates = ["--start", "2018-02-20", "--test", "2019-01-20"]
    _, rows = rows_of(log, capsys, "--preset", "paper", *dates, "--embedding", "audio1_64")
    assert rows[0]["dates"]["end"] is None
    assert (rows[0]["preset"], rows[0]["metric_k"]) == ("paper", "published")


def test_as_published_a_figure_at_any_k_is_that_at_50_and_says_so(log, capsys):
    asked = ["--embedding", "audio1_64", "--no-baselines", "--k", "5,50"]
    (published,), (own,) = (
        rows_of(log, capsys, *asked, "--metric-k", way)[1] for way in ("published", "own")
    )
    assert published["places"] == {"5": 50, "50": 50}
    for name, figure in own["metrics"].items():
        assert published["metrics"][name]["5"] == figure["50"] != figure["5"]
    assert "recall@5 (first 50)" in run(log, capsys, *asked, "--k", "5", "--preset", "paper",
        "--start", "2018-02-20", "--test", "2019-01-20")[1].out  # fmt: skip


@pytest.mark.parametrize("flavour", ["static", "guilty"])
def test_the_script_makes_a_log_that_can_be_measured(root, tmp_path, capsys, flavour):
    sizes = ["--users", "60", "--items", "80", "--clusters", "4", "--flavour", flavour]
    script = root / "scripts" / "make_listening_log.py"
    subprocess.run([sys.executable, script, tmp_path, *sizes], check=True, cwd=root)
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert len(truth["cluster_of_item"]) == 80
    code = main(
        ["evaluate", "recommend", str(tmp_path / "userid_trackid_timestamp.tsv"), "--json",
         "--embeddings-dir", str(tmp_path / "embeddings"), "--embedding", "audio0_64"]
    )  # fmt: skip
    assert code == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["log"]["bad_time"] == 0
    path = tmp_path / "embeddings" / "audio0_embeddings.parquet"
    assert item_vectors.read(path).values.dtype == np.float32


@pytest.mark.parametrize("names", [[], ["a/one", "b/one"]])
def test_the_script_refuses_sounds_that_make_no_log(root, tmp_path, names):
    (tmp_path / "sounds").mkdir()
    for name in names:
        path = tmp_path / "sounds" / f"{name}.wav"
        path.parent.mkdir()
        path.write_bytes(encoded(tone(0.2)))
    script = root / "scripts" / "make_listening_log.py"
    command = [sys.executable, script, tmp_path / "log", "--sounds", tmp_path / "sounds"]
    found = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert found.returncode == 1
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "log").exists()


def test_every_option_is_documented(root):
    parsers = [argparse.ArgumentParser(), sonic.make_parser()]
    recommenders.add_arguments(parsers[0])
    commands = parsers[1]._subparsers._group_actions[0].choices.values()
    text = (root / "docs" / "evaluation.md").read_text()
    for parser in [parsers[0], *commands]:
        for action in parser._actions:
            for option in action.option_strings:
                assert option in text or option in ("-h", "--help"), option


def test_a_missing_package_is_told_with_the_extra_that_has_it(log, capsys, monkeypatch):
    monkeypatch.setattr(recommenders, "find_spec", lambda name: None if name == "torch" else name)
    code, said = run(log, capsys, "--model", "snn")
    assert code == 1
    assert "soundalike[embedder]" in said.err
