"""WS-CONFORMANCE-14: mutants of the life cycle, and of what goes wrong only now and then.

Among them those that break WS-CONFORMANCE-17 and WS-SESSION-4. Each fails in the check named
beside it when its own clause is judged; of each family the quickest are run here, all of them by
the job that writes the kill table.
"""

from __future__ import annotations

import pytest
from port_judging import judged

from conformance.mutants import MUTANTS

KILLERS = {
    "digest-of-rounded-weights": "lifecycle/load",
    "reset-keeps-the-decoder": "lifecycle/reset",
    "reset-remembers-in-the-last-bit": "lifecycle/reset",
    "import-forgets-the-uncommitted": "transfer/continues",
    "bad-state-ignored": "transfer/refused",
    "one-role-taken-for-both": "transfer/refused",
    "features-in-any-letter-case": "port/honest",
    "exported-rows-off-by-one": "transfer/contents",
    "exported-keys-turned": "transfer/contents",
    "closed-session-answers": "lifecycle/ending",
    "finish-repeats-the-last-unit": "lifecycle/ending",
    "probe-one-layer-early": "session/probe",
    "prefill-remembered-by-length": "session/interleaved",
    "talks-past-eos": "streaming/text",
    "odd-prompt-padded": "session/prompt",
    "idle-typist-makes-wait": "streaming/text",
    "offline-forcing-by-unit-0": "streaming/text",
    "seventeenth-session": "session/interleaved",
    "step-reuses-probed-unit": "session/probe",
    "busy-hello": "port/claims",
    "digest-remembered": "streaming/kv-digest",
    "digest-outlives-the-reset": "streaming/kv-digest",
    "prompt-blocks-without-parent": "session/interleaved",
    "widest-top-k-for-all": "sampling/words",
    "angle-table-grows-by-t": "positions/edges",
    "auto-chunk-cuts-picture": "identity/sessions",
    "voice-evicted-after-24": "identity/late",
}


@pytest.mark.parametrize("name", KILLERS)
def test_ws_conformance_14_mutant_is_killed_by_its_clause(name: str) -> None:
    mutant = MUTANTS[name]
    report = judged(mutant.factory(), KILLERS[name], clause=mutant.clause)
    assert report.exit_status == 1
    assert report.cases[-1].verdict.value == "fail", report.cases[-1]
    assert report.cases[-1].clause == mutant.clause
