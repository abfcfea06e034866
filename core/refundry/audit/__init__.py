"""The audit: it lets people who do not trust the operator verify the log.

The rule of this package: the tree, the notes and the proofs are pure and know no database; what is signed is signed
outside the database, by a signer that remembers what it signed before.
"""
