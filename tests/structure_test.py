"""Every module of cinejax has a test of its own, or is listed here.

The tests of `cinejax/memory/router.py` are in `tests/memory/router_test.py`.
`TESTED_ELSEWHERE` names every other module, the tests that run it, and why they
are not its own.
"""

import fnmatch
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

_FIELDS = 'declares fields and their rules, which tests/config_test.py applies'
_COMMAND = 'runs as a command, which these tests start'
_WEIGHTS = 'is one step of reading weights, which these tests read as a whole'
_LOSS = 'shares its batches and teachers with the losses that are tested there'
_ROLLOUT = 'has an effect only in a whole step, which is compared there'
_LAYER = 'is tested through the network, whose results are compared there'
_STORY = 'shows in painted frames, which are tested there'
_STAGE = 'is tested by training: the stages run there'
_SERVER = 'is tested through the sessions or the application that use it'
_REPORT = 'is tested by the files that a report consists of'

# modules: (tests, reason)
TESTED_ELSEWHERE = {
  'benchmarks/http_server.py': (
    'benchmarks/seeking_test.py benchmarks/soaking_test.py',
    'serves what these measure',
  ),
  'serving/compiling.py': (
    'serving/studio_test.py serving/comparing_test.py',
    _SERVER,
  ),
  'serving/film/reads.py': ('serving/http/app_test.py', _SERVER),
  'serving/http/comparison_routes.py': ('serving/http/app_test.py', _SERVER),
  'serving/http/endpoint.py': ('serving/http/app_test.py', _SERVER),
  'serving/http/export_routes.py': ('serving/http/app_test.py', _SERVER),
  'client.py': (
    'serving/http/connections_test.py',
    'needs a server on a port, which runs there',
  ),
  'core/config.py': ('config_test.py', _FIELDS),
  'core/errors.py': ('command_test.py', 'is one class, which commands print'),
  'data/config.py': ('config_test.py', _FIELDS),
  'data/features.py': (
    'data_prep/features_test.py',
    'reads what data_prep writes, which is read back there',
  ),
  'data/tables.py': (
    'data/texts_test.py',
    'writes and reads the tables of captions, which are tested there',
  ),
  'memory/stored.py': (
    'memory/bank_test.py',
    'packs keys and values, which banks give back there',
  ),
  'rollout/host_leaves.py': (
    'memory/archive_test.py training/host_traffic_test.py',
    'finds what is in host memory, which these films and counts need',
  ),
  'diffusion/config.py': ('config_test.py', _FIELDS),
  'directing/film_codec.py': (
    'directing/director_test.py',
    'is a base class of the director',
  ),
  'directing/loading.py': ('directing/director_test.py', _WEIGHTS),
  'directing/progress.py': (
    'directing/writing_test.py',
    'is shown by terminals only',
  ),
  'directing/rollout_programs.py': (
    'configs_test.py directing/director_test.py',
    'is a base class of the director; every config is traced with it',
  ),
  'directing/stdin.py': ('serving/live_roll_test.py', _COMMAND),
  'evaluation/config.py': ('config_test.py', _FIELDS),
  'evaluation/metrics/film.py': (
    'evaluate_test.py evaluation/metrics/story_film_test.py',
    'calls the metrics, each of which has a test',
  ),
  'evaluation/reports/paper_results.py': (
    'evaluation/reports/summary_test.py',
    'holds numbers of papers',
  ),
  'evaluation/reports/style.py': ('evaluation/reports/plots_test.py', _REPORT),
  'evaluation/reports/tables.py': (
    'evaluation/reports/summary_test.py',
    _REPORT,
  ),
  'film/config.py': ('config_test.py', _FIELDS),
  'film/formats/*.py': (
    'film/formats/formats_test.py',
    'are formats of one reader, which reads files of each there',
  ),
  'interop/mapped.py': ('interop/archive_test.py', _WEIGHTS),
  'interop/pickled.py': ('interop/archive_test.py', _WEIGHTS),
  'interop/pickling.py': ('convert_test.py wan_direct_test.py', _WEIGHTS),
  'interop/shards.py': ('interop/peak_test.py', _WEIGHTS),
  'interop/sizes.py': ('interop/names_test.py', _WEIGHTS),
  'interop/typed.py': ('convert_test.py', _WEIGHTS),
  'interop/views.py': ('interop/names_test.py', _WEIGHTS),
  'interop/wrappers.py': ('interop/archive_test.py', _WEIGHTS),
  'memory/config.py': ('config_test.py', _FIELDS),
  'memory/policies.py': (
    'memory/router_test.py',
    'gives scores, by which the router chooses there',
  ),
  'models/arrangement.py': (
    'models/captions_test.py rollout/stream_test.py',
    'is tested by films of parameters that are arranged',
  ),
  'models/block.py': ('models/denoiser_test.py', _LAYER),
  'models/codec/wan_coder.py': ('models/codec/wan_vae_test.py', _LAYER),
  'models/codec/wan_layers.py': ('models/codec/wan_vae_test.py', _LAYER),
  'models/codec/wan_shortcuts.py': ('models/codec/wan22_vae_test.py', _LAYER),
  'models/config.py': ('config_test.py', _FIELDS),
  'models/discriminator.py': ('training/dmd_test.py', _STAGE),
  'models/film_mixing.py': (
    'models/captions_test.py models/denoiser_test.py models/mixing_test.py',
    'is compared with dense masks there, and by whole networks',
  ),
  'models/gate.py': (
    'models/mixing_test.py',
    'weighs what mixers attend to, which is compared there',
  ),
  'models/gathering.py': (
    'models/mixing_test.py',
    'reads what mixers attend to, which is compared there',
  ),
  'models/rollout_pass.py': (
    'rollout/parallel_test.py rollout/stream_test.py',
    _ROLLOUT,
  ),
  'models/splash.py': (
    'models/attention_test.py',
    'is one implementation of attention; all are compared there',
  ),
  'models/transnet.py': (
    'interop/transnet_test.py',
    'is compared with its reference after its weights are read',
  ),
  'objectives/adversarial.py': ('objectives/dmd_test.py', _LOSS),
  'objectives/causal_ode.py': ('objectives/student_test.py', _LOSS),
  'objectives/config.py': ('config_test.py', _FIELDS),
  'objectives/consistency.py': ('objectives/student_test.py', _LOSS),
  'rollout/config.py': ('config_test.py', _FIELDS),
  'rollout/denoising.py': ('rollout/parallel_test.py', _ROLLOUT),
  'rollout/placement.py': ('directing/director_test.py', _ROLLOUT),
  'rollout/sampler.py': (
    'diffusion/unipc_test.py rollout/parallel_test.py',
    _ROLLOUT,
  ),
  'rollout/scan.py': ('rollout/stream_test.py', _ROLLOUT),
  'rollout/state.py': ('rollout/passes_test.py', _ROLLOUT),
  'rollout/step.py': (
    'rollout/commit_test.py rollout/given_test.py rollout/parallel_test.py',
    _ROLLOUT,
  ),
  'serving/budget.py': (
    'serving/soak_test.py',
    'bounds what a server uses, which is measured there',
  ),
  'serving/config.py': ('config_test.py', _FIELDS),
  'serving/film/chunk.py': ('serving/film/live_film_test.py', _SERVER),
  'serving/film/history.py': ('serving/edits_test.py', _SERVER),
  'serving/film/snapshots.py': ('serving/film/live_film_test.py', _SERVER),
  'serving/film/takes.py': (
    'serving/edits_test.py serving/film/record_test.py',
    _SERVER,
  ),
  'serving/http/openapi.py': ('serving/http/app_test.py', _SERVER),
  'serving/segments.py': ('serving/studio_test.py', _SERVER),
  'serving/http/routes.py': ('serving/http/app_test.py', _SERVER),
  'story/config.py': ('config_test.py', _FIELDS),
  'story/motion.py': ('story/render_test.py story/steering_test.py', _STORY),
  'story/places.py': ('story/render_test.py', _STORY),
  'story/sprites.py': ('story/render_test.py', _STORY),
  'story/staging.py': ('story/casting_test.py', _STORY),
  'story/stamps.py': ('story/render_test.py', _STORY),
  'sweep_runner.py': ('sweep_test.py', _COMMAND),
  'train.py': ('command_test.py training/kill_test.py', _COMMAND),
  'training/base_stage.py': (
    'configs_test.py training/curriculum_test.py training/trainer_test.py',
    _STAGE,
  ),
  'training/codec_stage.py': ('training/codec_test.py', _STAGE),
  'training/config.py': ('config_test.py', _FIELDS),
  'training/distillation.py': ('training/dmd_test.py', _STAGE),
  'training/initialisation.py': ('training/init_test.py', _STAGE),
  'training/program.py': ('training/trainer_test.py', _STAGE),
  'training/stage.py': ('configs_test.py training/trainer_test.py', _STAGE),
  'training/stages.py': ('configs_test.py training/trainer_test.py', _STAGE),
  'training/state.py': ('training/steps_test.py', _STAGE),
}


def test_every_module_has_a_test_of_its_own_or_is_listed():
  modules = {
    path.relative_to(ROOT / 'cinejax')
    for path in (ROOT / 'cinejax').rglob('*.py')
    if path.name != '__init__.py'
  }
  without = {
    path.as_posix()
    for path in modules
    if not (ROOT / 'tests' / path.parent / f'{path.stem}_test.py').exists()
  }
  listed = {key: fnmatch.filter(without, key) for key in TESTED_ELSEWHERE}
  unlisted = without.difference(*listed.values())
  assert not unlisted, 'give them a test, or list them with a reason'
  stale = [key for key, found in listed.items() if not found]
  assert not stale, 'they have a test or are gone; remove them from the list'


@pytest.mark.parametrize('module', TESTED_ELSEWHERE)
def test_the_tests_that_are_named_exist(module):
  tests, reason = TESTED_ELSEWHERE[module]
  assert reason
  for test in tests.split():
    assert (ROOT / 'tests' / test).is_file(), test
