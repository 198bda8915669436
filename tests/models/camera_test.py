"""Poses of moves, rays of poses, and a network that sees them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.models import camera, denoiser
from cinejax.models.text.actions import SteeredText
from cinejax.models.text.hashed import HashedText
from configs import tiny

FOCAL = (0.5, 0.9)


def _matrix(pose):
  return np.asarray(pose).reshape(-1, 3, 4)


def test_moves_add_up_as_minwm_makes_them():
  """Its trajectory w*2,l*1,w*1, by its formulas; a turn comes before a step."""
  found = _matrix(camera.poses([{'w': 1}, {'w': 1}, {'l': 1}, {'w': 1}]))
  np.testing.assert_allclose(found[1, :, :3], np.eye(3), atol=1e-7)
  np.testing.assert_allclose(found[1, :, 3], [0, 0, 0.16], atol=1e-7)
  angle = np.radians(3)
  forward = [np.sin(angle), 0, np.cos(angle)]
  np.testing.assert_allclose(found[3, :, 2], forward, atol=1e-7)
  np.testing.assert_allclose(
    found[3, :, 3], [0, 0, 0.16] + 0.08 * np.array(forward), atol=1e-7
  )
  both = _matrix(camera.poses([{'l': 1, 'w': 0.5}]))
  np.testing.assert_allclose(both[0, :, 3], 0.04 * np.array(forward), atol=1e-7)
  up = _matrix(camera.poses([{'u': 1, 'd': 2}, {'i': 1}]))
  np.testing.assert_allclose(up[0, :, 3], [0.16, -0.08, 0], atol=1e-7)
  assert up[1, 1, 2] < 0  # it looks up: y points down


def test_rays_go_from_the_camera_through_pixels():
  pose = camera.poses([{}, {'a': 3, 'j': 10}])
  rays = np.asarray(camera.rays(jnp.asarray(pose), FOCAL, 4, 6))
  assert rays.shape == (2, 4, 6, camera.RAY)
  moment, direction = rays[..., :3], rays[..., 3:]
  np.testing.assert_allclose(np.linalg.norm(direction, axis=-1), 1, rtol=1e-6)
  np.testing.assert_allclose(moment[0], 0, atol=1e-7)  # through the origin
  place = _matrix(pose)[1, :, 3]
  np.testing.assert_allclose(
    moment[1], np.cross(place, direction[1]), atol=1e-6
  )
  corner = np.array([(0.5 / 6 - 0.5) / 0.5, (0.5 / 4 - 0.5) / 0.9, 1])
  np.testing.assert_allclose(
    direction[0, 0, 0], corner / np.linalg.norm(corner), rtol=1e-6
  )
  # a wider picture than the focal lengths say is seen at larger angles
  assert direction[0, 0, -1, 0] > direction[0, 0, 0, 0]
  zeros = camera.rays(jnp.zeros((1, 12)), FOCAL, 2, 2)
  np.testing.assert_array_equal(zeros, 0)


def test_prompts_move_the_camera_beside_actions():
  text = SteeredText(HashedText(4, 16), ('fire', 'mouse_x'), 3, True)
  (row_WD,) = text.encode(['a [w fire|j=2 mouse_x=-0.5]'])
  np.testing.assert_allclose(row_WD[4:, :2], [[1, 0], [0, -0.5], [0, -0.5]])
  moves = [{'w': 1}, {'j': 2}, {'j': 2}]
  np.testing.assert_allclose(row_WD[4:, 2:14], camera.poses(moves))
  (still_WD,) = text.encode(['a'])
  np.testing.assert_allclose(still_WD[4:, 2:14], camera.poses([{}] * 3))
  with pytest.raises(UserError, match='takes fire, mouse_x, w, s,'):
    text.encode(['a [jump]'])
  with pytest.raises(UserError, match=r'has w=x; a value is a number'):
    text.encode(['a [w=x]'])


def _cfg(**changes):
  config = tiny.get_config()
  config.text.camera, config.dit.camera = True, FOCAL
  config.update_from_flattened_dict(changes)
  return resolve(config)


@pytest.mark.slow
def test_a_network_starts_without_cameras_and_can_learn_them():
  cfg = _cfg().dit
  plain = dataclasses.replace(cfg, camera=(0.0, 0.0))
  params = denoiser.init_params(cfg, jax.random.key(0))
  assert not params['camera_embedding']['kernel'].any()
  assert params['camera_embedding']['kernel'].shape == (24, cfg.features)
  params['head']['kernel'] += 0.1
  x = jax.random.normal(jax.random.key(1), (1, 2, 3, 4, 4, cfg.channels))
  t = jnp.full((1, 2, 3), 0.5)
  text = SteeredText(HashedText(4, 16), (), 3, True)
  text_BNWD = jnp.asarray(text.encode(['a [w j]', 'a']))[None]
  run = jax.jit(denoiser.make_bidirectional_fn(cfg))
  without = {k: v for k, v in params.items() if k != 'camera_embedding'}
  np.testing.assert_array_equal(
    run(params, x, t, text_BNWD),
    jax.jit(denoiser.make_bidirectional_fn(plain))(
      without, x, t, text_BNWD[:, :, :4]
    ),
  )
  gradient = jax.grad(lambda p: (run(p, x, t, text_BNWD) ** 2).sum())(params)
  assert np.abs(gradient['camera_embedding']['kernel']).max() > 0


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'dit.camera': (0.0, 0.0)}, 'needs True and focal lengths'),
    ({'dit.camera': (0.5, -1.0)}, 'must be two focal lengths'),
    (
      {'text.features': 8},
      r'text\.features is 8; actions and a camera need 12',
    ),
    ({'text.actions': ('w',), 'dit.actions': 1}, 'names w, which are moves'),
  ],
)
def test_what_does_not_go_together_is_refused(changes, sentence):
  with pytest.raises(UserError, match=sentence):
    _cfg(**changes)
