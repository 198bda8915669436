"""The policies of an evaluation, each run on a director of its own."""

from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.evaluation import runner
from tests.evaluation.cases import make_cfg


def test_a_fused_commit_becomes_separate_and_reuse_stays():
  for commit, alone in (('fused', 'separate'), ('reuse', 'reuse')):
    director = RolloutPrograms(make_cfg(**{'rollout.commit': commit}))
    given = runner._with_policy(director, 'window').cfg
    assert (given.rollout.commit, given.memory.policy) == (alone, 'window')
