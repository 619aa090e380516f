"""Papers as executable specifications: float64 numpy, loop by loop, matrices column-major. Nothing here runs torch.

They are oracles for the fast parts, so they are slow on purpose. A vector is a column, a sequence of ``l`` vectors is a
matrix ``X`` with ``X[:, t]`` the vector of token ``t``. Tokens and positions count from 0; the papers count from 1.
Every algorithm declares the shapes of what it takes and gives in its signature, and every call holds it to them.
"""
