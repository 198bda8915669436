"""cinejax: direct films live with a causal video diffusion transformer.

Floors (a package imports only from lower floors, inside a package one way):

  5  train direct evaluate bench sweep  commands: python -m cinejax.X
     plan convert serve
  4  training                           state, steps, checkpoint, loop, stages
  3  objectives evaluation interop serving
     examiner exams takes opening       what commands share
     loading director live command
     points config                      where ConfigDict ends
  2  models rollout data story
  1  core diffusion memory film

Legend of dimension letters, used in every array name, einsum and einops call:

  B batch                      N chunks of a film
  F latent frames of a chunk   P tokens of a latent frame
  T tokens of a chunk (F P)    V window frames
  R routed frames              M context tokens ((R + V + F) P)
  E bank frames                J denoising steps
  L layers                     H heads
  K head dimension             D model dimension
  G mlp dimension              C channels
  Y X rows and columns         W caption tokens
  S segments of one forward pass (in film and story: shots)
"""
