"""A calibration goes on where it was interrupted, finds planted costs, and leaves a file that validates."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest

import edgekd.calibration.host as host
from edgekd.calibration.networks import network
from edgekd.errors import UsageError
from edgekd.latency.graph import NodeCost, summarise
from edgekd.latency.operator_costs import nanoseconds_of, read_costs
from edgekd.progress import Tick

PROFILER = (1400.0, 200.0)


def planted(number: int, precision: str, path: Path, reference: object) -> dict:
    """A network as if it had been timed on a machine whose operators cost 2 ns per kilobyte read and written, 0.02 a
    multiply-accumulate and 500 each; as int8 half of that. Every fourth the machine ran at half its speed."""
    summary, slower = summarise(network(number)), 2.0 if number % 4 == 0 else 1.0
    share = slower * (0.5 if precision == "int8" else 1.0)
    nodes = [
        {"node": {**asdict(one), "precision": precision}, "ns": share * cost(one), "ends": 3} for one in summary.nodes
    ]
    cpu = 5000.0 * slower + sum(one["ns"] for one in nodes)
    for one in nodes:
        one["ns"] += PROFILER[0] + PROFILER[1] * one["ends"]
    return {
        **{"network": number, "precision": precision, "reference": slower * 1e6, "cpu": cpu},
        **{"footprint": summary.footprint, "nodes": nodes},
    }


def cost(node) -> float:
    return 0.02 * node.macs + 0.002 * (node.elements_read + node.elements_written) + 500


@pytest.fixture
def machine(monkeypatch):
    """A machine on which nothing is really timed; the list of what was asked of it."""
    asked = []

    def timed(number, precision, path, reference):
        asked.append((number, precision))
        return planted(number, precision, path, reference)

    monkeypatch.setattr(host, "_timed", timed)
    monkeypatch.setattr(host, "Reference", lambda: None)
    monkeypatch.setattr(host, "inference_time", lambda: 5000.0)
    monkeypatch.setattr(host, "is_x86", lambda: True)
    monkeypatch.setattr(host, "_NEIGHBOURS", 1)
    return asked


def test_an_interrupted_calibration_goes_on_and_ends_as_if_it_had_not_been(machine, tmp_path):
    whole = host.calibrate_host(out=tmp_path / "whole.json", networks=15)
    machine.clear()

    def interrupt(tick: Tick) -> None:
        if tick.done == 7:
            raise KeyboardInterrupt

    out = tmp_path / "host.json"
    with pytest.raises(KeyboardInterrupt):
        host.calibrate_host(out=out, networks=15, listen=interrupt)
    assert not out.exists() and len(machine) == 7
    part = tmp_path / "host.json.part"
    part.write_text(part.read_text() + '{"network": 3, "pre')  # killed while it wrote
    ticks: list[Tick] = []
    resumed = host.calibrate_host(out=out, networks=15, listen=ticks.append)
    assert set(Counter(machine).values()) == {2} and len(machine) == 60
    assert [tick.done for tick in ticks] == list(range(8, 61)) and ticks[-1].seconds_left == 0
    assert resumed == whole == read_costs(out)
    assert not part.exists()


def test_what_another_runtime_left_half_done_is_not_taken_over(machine, tmp_path):
    part = tmp_path / "host.json.part"
    part.write_text(
        json.dumps({"networks": 15, "runtime": "1.0", "processor": "another"}) + "\n" + json.dumps({"x": 1})
    )
    host.calibrate_host(out=tmp_path / "host.json", networks=15)
    assert len(machine) == 60


def test_planted_costs_are_recovered_whatever_the_clock_did_meanwhile(machine, tmp_path):
    costs = host.calibrate_host(out=tmp_path / "host.json", networks=30)
    summary = summarise(network(100))
    said = sum(nanoseconds_of(summary.nodes, costs, footprint=summary.footprint))
    # Reference times of 1 and 2 ms, three of four 1 ms: that is the usual speed.
    assert said == pytest.approx(sum(map(cost, summary.nodes)), rel=0.05)
    assert costs.median_error < 0.05 and 0.8 < costs.low <= 1 <= costs.high < 1.25
    assert costs.graphs == 60 and costs.run_ns == 5000


def test_what_disturbs_a_graph_in_one_pass_alone_is_left_out(machine, tmp_path, monkeypatch):
    undisturbed = host.calibrate_host(out=tmp_path / "quiet.json", networks=30)
    machine.clear()

    def disturbed(number, precision, path, reference):
        row = planted(number, precision, path, reference)
        machine.append((number, precision))
        slower = 1.5 if machine.count((number, precision)) == 1 + number % 2 else 1.0  # the first or the second time
        return {**row, "cpu": slower * row["cpu"], "nodes": [{**one, "ns": slower * one["ns"]} for one in row["nodes"]]}

    monkeypatch.setattr(host, "_timed", disturbed)
    assert host.calibrate_host(out=tmp_path / "loud.json", networks=30) == undisturbed


def test_too_few_networks_and_other_processors_are_refused(machine, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="at least 10"):
        host.calibrate_host(out=tmp_path / "host.json", networks=5)
    monkeypatch.setattr(host, "is_x86", lambda: False)
    with pytest.raises(UsageError, match="x86"):
        host.calibrate_host(out=tmp_path / "host.json")


@pytest.mark.slow
def test_this_machine_is_really_timed(tmp_path):
    if not host.is_x86():
        pytest.skip("operators are timed one by one on x86 machines only")
    costs = host.calibrate_host(out=tmp_path / "host.json", networks=10)
    nodes = [NodeCost("n", f"conv_{size}", "fp32", 10**7, 10**4, 10**5, 10**5, "Conv") for size in ("3x3", "1x1")]
    dense, pointwise = (taken / 10**7 for taken in nanoseconds_of(nodes, costs, footprint=10**6))
    assert 0.0005 < dense < 1 and 0.0005 < pointwise < 1  # between 2000 and 1 multiply-accumulates a nanosecond
