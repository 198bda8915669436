"""The kinds of story films."""

# Described in casting.py. A kind's place is part of the seed of its films.
KINDS = ('train', 'eval', 'long', 'strict', 'single', 'minutes')
# In films of these kinds a character returns, and no training reads them.
EVALUATION_KINDS = ('eval', 'long', 'strict', 'minutes')
