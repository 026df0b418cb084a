"""Training: the objectives of PAPER §2.2 and §2.3 as code that trains.

    python -m reference.training --preset tiny --stage 1

Read in this order: `record` (what is learned from), `layout` and `forward` (one pass that equals
streaming), `losses` and `objective` (Eq. (1) and (3)), `distillation`, `rollout` and
`distribution_matching` (stage 3), `loop` (the optimizer around it).
"""
