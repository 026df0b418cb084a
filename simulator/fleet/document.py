"""The tables of `docs/internet-scale.md`, computed from the shipped scenario.

``python -m simulator.fleet.document`` writes them into the page, between its two markers.
Source: CHOICE (WS-FLEET-12).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Final

import attrs

from simulator.fleet.limits import Limits, limits_of
from simulator.fleet.reading import read_fleet
from simulator.fleet.run import pairs_of, simulate
from simulator.fleet.scenario import SECOND_NS, Fleet
from simulator.fleet.summary import FleetSummary, fleet_summary
from simulator.fleet.tally import FleetResult
from spec import clock
from spec.devices import device_named
from spec.errors import ConfigError
from spec.presets import preset_named
from spec.session import SessionConfig

SCENARIO: Final = Path(__file__).parents[1] / "scenarios/internet-scale.toml"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs/internet-scale.md"

BEGIN: Final = "<!-- made by python -m simulator.fleet.document; do not edit -->"
END: Final = "<!-- end of what is made -->"

GB: Final = 10**9


def page(text: str) -> str:
    """``text`` of the page with its tables made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def tables() -> str:
    """Every table of the page: one run of the shipped scenario, and closed forms."""
    fleet = read_fleet(SCENARIO)
    result = simulate(fleet)
    said = fleet_summary(fleet, result)
    return "\n".join(
        (
            "### Assumptions\n",
            markdown(("what", "value", "from"), assumptions(fleet)),
            "### A pair\n",
            markdown(("what", "value"), a_pair(fleet, result.limits)),
            "### The fleet\n",
            markdown(("what", "value"), the_fleet(said)),
            "### The run\n",
            markdown(("what", "value"), the_run(said, result)),
            "### What moves the number\n",
            markdown(
                ("preset", "device", "longest session", "sessions of a pair",
                 "let in by what is present", "pairs for a million"),
                variants(fleet),
            ),
        )
    )  # fmt: skip


def assumptions(fleet: Fleet) -> Iterable[Sequence[str]]:
    """Every number that goes in, and where it comes from."""
    device, lengths, site = fleet.plan.device, fleet.lengths, fleet.site
    assert site is not None
    assumed, chosen, table = "assumption", "choice", f"`spec/devices.toml`: {device.source}"
    yield "model", fleet.plan.config.preset.name, "`spec/presets.py`; the paper gives no size"
    yield "device, two a pair", device.name, table
    peak = device.peak_flops(fleet.plan.dtype)
    yield f"peak, {fleet.plan.dtype}", f"{peak / 1e12:,.1f} TFLOP/s", table
    yield "memory", f"{device.memory_bytes / GB:,.0f} GB", table
    yield "memory bandwidth", f"{device.memory_bandwidth / 1e12:,.2f} TB/s", table
    yield "link bandwidth, one way", f"{device.link_bandwidth / GB:,.0f} GB/s", table
    yield "power", f"{device.power_watts} W", table
    yield "share of the peaks that is reached", f"{float(fleet.plan.efficiency):.0%}", assumed
    yield "jitter of a round, relative", f"{float(fleet.jitter):.0%}", assumed
    yield "memory for weights and caches", f"{float(fleet.admission.memory_share):.0%}", assumed
    yield "people at a time", f"{fleet.arrivals.sessions:,}", chosen
    mean = f"{lengths.mean_ns / SECOND_NS:g} s, {lengths.kind}"
    yield "mean length of a session, before the longest", mean, assumed
    yield "longest session", f"{lengths.longest_ns / SECOND_NS:g} s", chosen
    yield "a user sends", f"{site.up_kbit_s} kbit/s", assumed
    yield "a user receives", f"{site.down_kbit_s} kbit/s", assumed
    yield "idle power", f"{float(site.idle_share):.0%} of a device's power", assumed
    yield "power of the site", f"{float(site.power_overhead):g} times the devices'", assumed
    yield "energy", f"{float(site.kwh_price):.2f} {site.currency}/kWh", assumed
    yield "a device", f"{float(site.device_hour_price):.2f} {site.currency}/h", assumed


def a_pair(fleet: Fleet, limits: Limits) -> Iterable[Sequence[str]]:
    """What a pair holds, and what limits it."""
    by_memory = attrs.evolve(
        fleet, admission=attrs.evolve(fleet.admission, time_share=Fraction(1_000_000))
    )
    yield "weights, on each device", f"{limits.weight_bytes / GB:.2f} GB"
    yield "keys and values of a unit", f"{limits.unit_bytes / 1e6:.2f} MB"
    yield "keys and values of the longest session", f"{longest_bytes(limits) / GB:.2f} GB"
    yield "sessions of the longest length, by memory", f"{limits_of(by_memory).places}"
    yield "sessions of the longest length, by memory and time", f"{limits.places}"


def longest_bytes(limits: Limits) -> int:
    """Keys and values of one session of the longest length."""
    return limits.session_bytes + limits.longest * limits.unit_bytes


def the_fleet(said: FleetSummary) -> Iterable[Sequence[str]]:
    """What a million sessions take."""
    assert said.bill is not None
    amounts = {k: v for k, v in said.bill.items() if isinstance(v, float)}
    money = said.bill["currency"]
    yield "pairs", f"{said.pairs:,}"
    yield "blocking by Erlang B", f"{said.blocking_expected:.4%}"
    yield "devices", f"{amounts['devices']:,.0f}"
    yield "memory of all devices", f"{amounts['memory_bytes'] / 1e15:,.1f} PB"
    yield (
        "keys and values, on thinkers and again on performers",
        (f"{amounts['cached_bytes'] / 1e15:,.2f} PB"),
    )
    yield "thinkers to performers and back", f"{amounts['pair_link_bits_s'] / 1e12:,.1f} Tbit/s"
    yield "from users", f"{amounts['up_bits_s'] / 1e9:,.0f} Gbit/s"
    yield "to users", f"{amounts['down_bits_s'] / 1e9:,.0f} Gbit/s"
    yield "power of the site", f"{amounts['watts'] / 1e6:,.0f} MW"
    yield "energy", f"{amounts['energy_price']:,.0f} {money}/h"
    yield "devices' price", f"{amounts['device_price']:,.0f} {money}/h"
    yield "a minute of a session", f"{amounts['session_minute_price']:.4f} {money}"


def the_run(said: FleetSummary, result: FleetResult) -> Iterable[Sequence[str]]:
    """What was simulated and what is known from it."""
    yield "rounds of 160 ms", f"{said.rounds}"
    yield "sessions at a time, mean", f"{said.sessions_mean:,.0f}"
    yield "units served", f"{said.session_units:,}"
    came, ended, refused = (said.sessions[name] for name in ("arrived", "ended", "rejected"))
    yield "sessions that came, ended, were refused", f"{came:,}, {ended:,}, {refused:,}"
    for promise in said.promises:
        yield (
            f"{promise.name}: share, bound, promised",
            (f"{promise.value:.4%}, {promise.bound:.4%}, {promise.allowed:.2%}: {promise.verdict}"),
        )
    latency = said.latency_ms
    yield (
        "model-side latency p50, p99, largest",
        (f"{latency.p50:.1f}, {latency.p99:.1f}, {latency.max:.1f} ms"),
    )
    yield "most memory of a device", f"{result.peak_memory_bytes / GB:.1f} GB"
    busy = (said.busy["thinker"], said.busy["performer"])
    yield "thinkers, performers at work", ", ".join(f"{share:.1%}" for share in busy)
    yield "trace sha256", f"`{said.trace_sha256[:16]}...`"


def variants(fleet: Fleet) -> Iterable[Sequence[str]]:
    """The same promise with other models, devices and longest sessions, in closed form."""
    for preset in ("qwen3-8b", "qwen3-1.7b", "smollm2-135m"):
        config = SessionConfig(preset=preset_named(preset), schedule="overlapped")
        for device in ("h100-sxm", "h200-sxm"):
            plan = attrs.evolve(fleet.plan, config=config, device=device_named(device))
            for longest_s in (150, 300, 600):
                lengths = attrs.evolve(fleet.lengths, longest_ns=longest_s * SECOND_NS)
                variant = attrs.evolve(fleet, plan=plan, lengths=lengths)
                yield preset, device, f"{longest_s} s", *numbers_of(variant)


def numbers_of(fleet: Fleet) -> tuple[str, str, str]:
    """Places of a pair, sessions of mean length that fit at once, and pairs."""
    present = attrs.evolve(fleet, admission=attrs.evolve(fleet.admission, memory="present"))
    together = limits_of(present).together
    mean_units = fleet.lengths.mean_ns // clock.UNIT_NS
    young = [s for s in range(len(together)) if s * mean_units <= together[s]]
    try:
        limits = limits_of(fleet)
    except ConfigError:
        return "none fits", f"{max(young)}", "-"
    return f"{limits.places}", f"{max(young)}", f"{pairs_of(fleet, limits):,}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
