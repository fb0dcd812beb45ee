"""Records are erased from the present version or from all of history, and the erasure is proved.

plan          which records, and which others resemble them      (plan, alike)
on the side   every version is built without them                (again, raw)
all else is shown to be what it was                (same)
git's names   move at once, the old ones are kept beside         (refs)
clean         experiments, caches, remotes, git's objects        (traces)
proof         every object is searched, a certificate is written (needles, search, objects, certificate)
"""
