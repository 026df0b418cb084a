"""`wanstreamer plan`: devices, stage times by roofline, what fits, and what it says."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import attrs
import pytest
import samples
import torch

from reference import text
from reference.weights import build_model
from spec import cost, cost_stages, latency, roofline
from spec.clock import UNIT_NS
from spec.cost_stages import Work, Workload
from spec.devices import Device, devices
from spec.errors import WeightsError
from spec.presets import QWEN3_1_7B, QWEN3_8B, TINY
from spec.roofline import Plan
from spec.session import SessionConfig
from spec.sizes import Preset, Schedule
from wanstreamer import cli

Said = pytest.CaptureFixture[str]

ROUND = Device(
    name="round",
    bf16_flops=1_000_000,
    fp32_flops=100_000,
    memory_bytes=10**9,
    memory_bandwidth=10_000,
    link_bandwidth=1_000,
    source="made up",
)
SMALL = SessionConfig(preset=samples.SMALL, schedule="overlapped")
PLAN = Plan(config=SMALL, device=ROUND, dtype="float32")


@pytest.fixture(scope="module", autouse=True)
def commands() -> None:
    cli.register()


def planned(said: Said, *arguments: str) -> dict[str, Any]:
    """What ``plan --json`` printed."""
    assert cli.status_of(["plan", "--json", *arguments]) == 0
    out, err = said.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 1
    result: dict[str, Any] = json.loads(out)
    return result


def test_devices_state_their_numbers() -> None:
    """WS-COST-7: each with a source; the first is the default; a GPU plans in bfloat16."""
    assert list(devices()) == [
        "h100-sxm", "h200-sxm", "a100-sxm-80gb", "l40s", "rtx-4090", "cpu-2core",
    ]  # fmt: skip
    for device in devices().values():
        assert device.source
        for name in ("fp32_flops", "memory_bytes", "memory_bandwidth", "link_bandwidth"):
            assert getattr(device, name) > 0
        assert device.default_dtype == ("float32" if device.name == "cpu-2core" else "bfloat16")
        assert device.peak_flops("float32") == device.fp32_flops
        if device.bf16_flops is not None:
            assert device.peak_flops("bfloat16") == device.bf16_flops > device.fp32_flops


STATED = {
    "h100-sxm": (989_400, 66_900, 80, 3_350, 450),
    "h200-sxm": (989_400, 66_900, 141, 4_800, 450),
    "a100-sxm-80gb": (312_000, 19_500, 80, 2_039, 300),
    "l40s": (362_050, 91_600, 48, 864, 32),
    "rtx-4090": (165_200, 82_600, 24, 1_008, 32),
}
"""Of each maker's sheet: dense bf16 and fp32 GFLOP/s, GB of memory, GB/s of it, and of the link one
way, which is half of what is advertised for NVLink and PCIe."""


@pytest.mark.parametrize("name", STATED)
def test_a_device_states_what_its_maker_does(name: str) -> None:
    """WS-COST-7: dense products, one direction of the link."""
    d, giga = devices()[name], 10**9
    stated = (d.bf16_flops, d.fp32_flops, d.memory_bytes, d.memory_bandwidth, d.link_bandwidth)
    assert stated == tuple(number * giga for number in STATED[name])


def test_a_dtype_that_is_asked_for_is_planned_in(capsys: Said) -> None:
    """WS-COST-7: bfloat16 unless another is asked for: twice the bytes, a fifteenth of the peak."""
    ours, other = planned(capsys), planned(capsys, "--dtype", "float32")
    assert (ours["dtype"], other["dtype"]) == ("bfloat16", "float32")
    assert other["weight_bytes"] == 2 * ours["weight_bytes"]
    assert other["histories"][0]["stage_ns"]["solve"] > ours["histories"][0]["stage_ns"]["solve"]


def test_a_pass_takes_what_binds_it() -> None:
    """WS-COST-8: by hand. 300 kFLOP at 100 kFLOP/s is 3 s; 20,000 elements of 4 bytes at
    10 kB/s are 8 s; in bfloat16 0.3 s and 4 s."""
    assert roofline.pass_seconds(PLAN, Work(300_000, 20_000)) == 8
    assert roofline.pass_seconds(PLAN, Work(300_000, 2_500)) == 3
    half = attrs.evolve(PLAN, efficiency=Fraction(1, 2))
    assert roofline.pass_seconds(half, Work(300_000, 2_500)) == 6
    bf16 = attrs.evolve(PLAN, dtype="bfloat16")
    assert roofline.pass_seconds(bf16, Work(300_000, 20_000)) == 4
    # A stage is the sum of its passes, each bound by itself, rounded up once.
    works = (Work(300_000, 2_500), Work(300_000, 20_000), Work(1, 0))
    assert roofline.stage_ns(PLAN, works) == 11_000_010_000
    third = attrs.evolve(PLAN, device=attrs.evolve(ROUND, fp32_flops=3))
    assert roofline.stage_ns(third, (Work(1, 0), Work(1, 0))) == 666_666_667


def test_stage_times_of_a_large_preset_by_hand() -> None:
    """WS-COST-8: a text slot of Qwen3-8B reads its weights: 16 GB at 3.35 TB/s, not its FLOPs."""
    config = SessionConfig(preset=QWEN3_8B, schedule="overlapped")
    plan = Plan(config=config, device=devices()["h100-sxm"], dtype="bfloat16")
    backbone = 36 * (4096 * (4096 + 1024 + 1024) + 4096 * 4096 + 3 * 4096 * 12288)
    head, vectors = 4096 * 151_936, 36 * (2 * 4096 + 2 * 128) + 4096
    # Prefill 1, O 36 tokens, state 1: passes over 1, 37, 38, 39, 40 cached tokens.
    keys = sum(n + own for n, own in ((1, 36), (37, 1), (38, 1), (39, 1), (40, 1)))
    moved = 5 * (backbone + vectors) + 3 * head + keys * 147_456 // 2
    activations = 40 * 36 * (2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 12288))
    activations += 3 * (4096 + 151_936)
    seconds = Fraction(2 * (moved + activations), 3_350_000_000_000)
    assert roofline.stage_times(plan, 0).update == -int(-seconds * 10**9 // 1)
    # The slice is [O, L], 40 tokens of 147,456 bytes and 64 of row, at 450 GB/s.
    assert roofline.stage_times(plan, 0).comm == -(-40 * (147_456 + 64) * 10 // 4500)


def test_the_larger_of_slice_and_latents_binds_the_link() -> None:
    """WS-COST-8: where latents are wide, they do; at 1 kB/s a byte takes a millisecond."""
    audio = attrs.evolve(samples.SMALL.audio_codec, latent_channels=5_000)
    wide = attrs.evolve(SMALL, preset=attrs.evolve(samples.SMALL, audio_codec=audio))
    latents = cost.latents_bytes(wide, 4)
    assert latents > 4 * 4 * 5_000
    assert roofline.comm_ns(attrs.evolve(PLAN, config=wide)) == latents * 10**6
    assert roofline.comm_ns(PLAN) == cost.slice_bytes(SMALL, 4) * 10**6


@pytest.mark.parametrize("schedule", ["overlapped", "sequential"])
def test_path_cycle_and_binding_follow(schedule: Schedule, capsys: Said) -> None:
    """WS-COST-8: they are those of the latency clauses for the predicted stage times."""
    result = planned(capsys, "--schedule", schedule)
    assert result["lower_bound"] is True
    assert result["efficiency"] == 1
    for row in result["histories"]:
        times = latency.StageTimes(**row["stage_ns"])
        assert row["critical_path_ns"] == latency.critical_path_ns(times)
        assert row["cycle_ns"] == latency.cycle_ns(times, schedule)
        assert row["binding"] == latency.binding(times, schedule)
        assert row["keeps_up"] == (row["cycle_ns"] <= UNIT_NS)
        scheduled = {
            "boundary": latency.as_scheduled_ns(times, "boundary"),
            "eager": latency.as_scheduled_ns(times, "eager"),
        }
        assert row["model_side_ns"] == (scheduled if row["keeps_up"] else None)
        assert (times.commit == 0) == (schedule == "sequential" or row["unit"] == 0)


def test_a_session_ends_where_memory_or_time_does() -> None:
    """WS-COST-9: one unit more does not fit in memory; the next cycle is longer than T."""
    config = SessionConfig(preset=QWEN3_1_7B, schedule="sequential")
    for device in devices().values():
        plan = Plan(config=config, device=device, dtype=device.default_dtype)
        weights = cost.weight_bytes(QWEN3_1_7B, plan.element)
        fit = roofline.units_in_memory(plan)
        assert weights + cost.kv_bytes(config, fit, plan.element) <= device.memory_bytes
        assert weights + cost.kv_bytes(config, fit + 1, plan.element) > device.memory_bytes
        late = roofline.units_in_time(plan)
        assert roofline.cycle_at(plan, late) > UNIT_NS
        assert late == 0 or roofline.cycle_at(plan, late - 1) <= UNIT_NS


def test_keys_and_values_of_the_prefill_take_memory() -> None:
    """WS-COST-9: to the byte: a device with room for three units after a prompt."""
    config = attrs.evolve(SMALL, prompt=(1,) * 500)
    for spare, units in ((0, 3), (-1, 2)):
        size = cost.weight_bytes(SMALL.preset, 4) + cost.kv_bytes(config, 3, 4) + spare
        device = attrs.evolve(ROUND, memory_bytes=size)
        assert roofline.units_in_memory(attrs.evolve(PLAN, config=config, device=device)) == units


def test_weights_that_do_not_fit_leave_no_unit(capsys: Said) -> None:
    """WS-COST-9: 8.3 G parameters of 4 bytes are more than 16 GB: no session, and it says so."""
    result = planned(capsys, "--preset", "qwen3-8b", "--device", "cpu-2core")
    assert result["session"]["units"] == result["session"]["units_in_memory"] == 0
    assert [row["unit"] for row in result["histories"]] == [0]
    assert cli.status_of(["plan", "--preset", "qwen3-8b", "--device", "cpu-2core"]) == 0
    assert "Does not fit: weights 33.21 GB, memory 16.00 GB." in capsys.readouterr().out


def test_units_that_pile_up_have_no_latency(capsys: Said) -> None:
    """WS-COST-8: where the cycle is longer than T the latency has no end, and none is given."""
    arguments = ("--preset", "smollm2-135m", "--device", "cpu-2core")
    (first, *_) = planned(capsys, *arguments)["histories"]
    assert first["cycle_ns"] > UNIT_NS
    assert first["keeps_up"] is False
    assert first["model_side_ns"] is None
    assert cli.status_of(["plan", *arguments]) == 0
    assert capsys.readouterr().out.count("none") >= 2


@pytest.mark.parametrize("unit", [0, 375])
def test_solver_steps_fit_up_to_the_cycle(unit: int) -> None:
    """WS-COST-10: with one step more the cycle is longer than T."""
    config = SessionConfig(preset=QWEN3_8B, schedule="overlapped")
    plan = Plan(config=config, device=devices()["l40s"], dtype="bfloat16")
    for candidate in (plan, attrs.evolve(plan, device=devices()["h100-sxm"])):
        fit = roofline.solver_steps_in_time(candidate, unit)
        assert roofline.cycle_at(roofline.with_steps(candidate, fit + 1), unit) > UNIT_NS
        assert fit == 0 or roofline.keeps_up(roofline.with_steps(candidate, fit), unit)
    # A device so slow that a single step is too many.
    assert roofline.solver_steps_in_time(PLAN, unit) == 0


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 9, 1000])
def test_counting_stops_at_the_first_false(limit: int) -> None:
    """WS-COST-9: whatever the number is."""
    assert roofline.count_while(lambda n: n < limit) == limit


def test_history_only_adds_to_a_unit() -> None:
    """WS-COST-9: no stage gets cheaper as the history grows, so a limit once passed stays so."""
    before: dict[str, Work] = {}
    for unit in range(6):
        passes = cost_stages.stages(Workload.full(SMALL), unit)
        now = {name: cost_stages.total(works) for name, works in passes.items()}
        for name, work in before.items():
            assert now[name].flops >= work.flops
            assert now[name].elements >= work.elements
        before = now


def test_report_agrees_with_the_closed_forms(capsys: Said) -> None:
    """WS-COST-9, WS-COST-10: one object; counts, bytes and limits as computed one by one."""
    result = planned(capsys, "--preset", "tiny", "--device", "cpu-2core")
    plan = Plan(
        config=SessionConfig(preset=TINY, schedule="overlapped"),
        device=devices()["cpu-2core"],
        dtype="float32",
    )
    assert (result["preset"], result["dtype"], result["schedule"]) == (
        "tiny",
        "float32",
        "overlapped",
    )
    parameters = dict(result["parameters"])
    assert parameters.pop("total") == sum(parameters.values())
    assert parameters == cost.parameters(TINY)
    assert result["weight_bytes"] == cost.weight_bytes(TINY, 4)
    token = cost.kv_bytes_per_token(TINY.backbone, 4)
    tokens = sum(result["tokens_per_unit"].values())
    assert result["kv_bytes"] == {
        "token": token,
        "unit": tokens * token,
        "minute": 375 * tokens * token,
    }
    limits = result["session"]
    assert limits["units_in_memory"] == roofline.units_in_memory(plan)
    assert limits["units_in_time"] == roofline.units_in_time(plan)
    assert limits["units"] == min(limits["units_in_memory"], limits["units_in_time"])
    assert limits["units"] == limits[f"units_in_{limits['limited_by']}"]
    assert [row["unit"] for row in result["histories"]] == [
        0, 375, 3750, limits["units_in_memory"] - 1,
    ]  # fmt: skip
    for row in result["histories"]:
        assert row["solver_steps_that_fit"] == roofline.solver_steps_in_time(plan, row["unit"])


def test_what_a_person_reads(capsys: Said) -> None:
    """WS-COST-8, WS-COST-9: every stage, both limits, that times are bounds; 80 columns do."""
    assert cli.status_of(["plan"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("qwen3-8b on h100-sxm, bfloat16, overlapped, 4 solver steps")
    for words in ("8,303,419,457", "memory: 80.00 GB hold", "time: a unit takes", "lower bound",
                  "steps in 160 ms", "limited by memory"):  # fmt: skip
        assert words in said
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--preset", "gpt"), "preset: got 'gpt'; allowed: qwen3-1.7b, qwen3-8b, smollm2-135m,"),
        (("--device", "abacus"), "device: got 'abacus'; allowed: h100-sxm, h200-sxm, "),
        (("--device", "cpu-2core", "--dtype", "bfloat16"), "got 'bfloat16'; allowed: float32"),
        (("--dtype", "int3"), "got 'int3'; allowed: bfloat16, float32"),
        (("--schedule", "eager"), "got 'eager'; allowed: overlapped, sequential"),
    ],
)
def test_mistakes_are_one_line(arguments: tuple[str, ...], said: str, capsys: Said) -> None:
    """WS-COST-7, WS-ERRORS-1: what is allowed is listed, nothing is printed on stdout."""
    assert cli.status_of(["plan", *arguments]) == cli.USAGE_STATUS
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("preset", [QWEN3_1_7B, QWEN3_8B], ids=lambda p: p.name)
def test_planning_presets_are_not_served_without_weights(
    preset: Preset, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """WS-PRESETS-7: one line, before a model is made."""
    monkeypatch.setattr("reference.weights.WanStreamer", None)
    arguments = ["run", "--preset", preset.name, "--modalities", "text", "--text", "hi"]
    assert cli.status_of(arguments) == cli.USAGE_STATUS
    out, err = capsys.readouterr()
    assert out == ""
    assert "allowed: `wanstreamer plan`" in err
    assert err.count("\n") == 1
    with pytest.raises(WeightsError, match=f"weights of preset {preset.name}: got 'none'"):
        build_model(preset, torch.float32)
    with pytest.raises(WeightsError, match="tokenizer of this preset: got 'none'"):
        text.encode(preset.tokenizer, "")
