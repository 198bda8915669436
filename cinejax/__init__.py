"""cinejax: direct films live with a causal video diffusion transformer.

docs/architecture.md has the map of its packages.

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
