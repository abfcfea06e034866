"""The audit: what lets somebody who does not trust us check the log.

The rule of this package: the tree, the notes and the proofs are pure and know no database; what is signed is signed
outside the database, by somebody who remembers what was signed before.
"""
