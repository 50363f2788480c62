from xml.etree import ElementTree

import pytest

from soundalike.pictures import curves

SVG = "{http://www.w3.org/2000/svg}"


def parts(document):
    root = ElementTree.fromstring(document)
    return {
        kind: [dict(one.attrib, text="".join(one.itertext())) for one in root.iter(SVG + kind)]
        for kind in ("circle", "line", "text")
    }


def test_values_lie_in_proportion_to_the_ticks():
    drawn = parts(curves.intervals([("a", {"x": (0.1, 0.2, 0.3)}), ("b", {"x": (0.3, 0.35, 0.4)})]))
    at = {one["text"]: float(one["x"]) for one in drawn["text"] if one["text"][0].isdigit()}
    assert list(at) == ["0", "0.1", "0.2", "0.3", "0.4"]
    assert [float(one["cx"]) for one in drawn["circle"]] == pytest.approx(
        [at["0.2"], (at["0.3"] + at["0.4"]) / 2], abs=0.1
    )
    spans = [one for one in drawn["line"] if one["y1"] == one["y2"]][-2:]
    assert float(spans[0]["x1"]) == pytest.approx(at["0.1"], abs=0.1)
    assert float(spans[1]["x2"]) == pytest.approx(at["0.4"], abs=0.1)


def test_a_series_has_one_colour_and_lane_and_may_be_missing():
    row = {"x": (0.0, 1.0, 2.0), "y": (1.0, 2.0, 3.0)}
    dots = parts(curves.intervals([("a", row), ("b", {"y": row["y"]})]))["circle"]
    assert len(dots) == 3
    assert dots[1]["fill"] == dots[2]["fill"] != dots[0]["fill"]
    assert float(dots[0]["cy"]) < float(dots[1]["cy"]) < float(dots[2]["cy"])


def test_marks_go_through_all_rows_and_are_told():
    drawn = parts(curves.intervals([("a", {"x": (1.0, 2.0, 3.0)})], {"chance <by lot>": 0.5}))
    assert "chance <by lot> (0.500)" in [one["text"] for one in drawn["text"]]
    (mark,) = [one for one in drawn["line"] if "stroke-dasharray" in one and one["x1"] == one["x2"]]
    ticks = {one["text"]: float(one["x"]) for one in drawn["text"] if one["text"].isdigit()}
    assert float(mark["x1"]) == pytest.approx((ticks["0"] + ticks["1"]) / 2, abs=0.1)


def test_nothing_but_zeros_can_be_drawn():
    assert len(parts(curves.intervals([("a", {"x": (0.0, 0.0, 0.0)})]))["circle"]) == 1


def test_lines_go_through_their_points_in_proportion():
    points = [(50, (0.3, 0.4, 0.5)), (5, (0.1, 0.2, 0.3)), (500, (0.1, 0.1, 0.1))]
    drawn = parts(curves.lines([("a <b>", points), ("c", points[:1])], "k"))
    at = {one["text"]: one for one in drawn["text"]}
    assert {"a <b>", "c", "k", "0", "0.5", "5", "50", "500"} <= at.keys()
    xs = [float(at[number]["x"]) for number in ("5", "50", "500")]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    assert [float(one["cx"]) for one in drawn["circle"]] == [*xs, xs[1]]
    zero, half = (float(at[value]["y"]) for value in ("0", "0.5"))
    heights = [(zero - 4 - float(one["cy"])) / (zero - half) * 0.5 for one in drawn["circle"]]
    assert heights == pytest.approx([0.2, 0.4, 0.1, 0.4], abs=0.002)
    thick = [one for one in drawn["line"] if "stroke-width" in one and one["x1"] != one["x2"]]
    joins = [(float(one["x1"]), float(one["x2"])) for one in thick]
    assert (xs[0], xs[1]) in joins
    assert (xs[1], xs[2]) in joins
