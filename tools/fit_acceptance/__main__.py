"""Fits the table by which a face counts as covered: `facemend.reconstruction.acceptance`.

    python -m tools.fit_acceptance --shared FOLDER --cache FILE [--model FILE] [--anew]

The examples are photos of which is known what covers the faces. Some are uncovered: as they are, out of
focus, grey, noisy, cut off. Others have a drawn cover or show people in real masks. Every find of the
detector is an example. It counts as covered if what the model finds there agrees with the true cover. The
evidence is kept in the cache, so that another fit takes seconds. `--anew` collects it again, for another
model.

The figures are printed for photos that a table was not fitted to (four parts, each checked by the table of
the other three) and for the final table. Of photos that are for measuring only (real-masks, scenes) nobody
says which find is a face: they are not fitted to, and counted is in how many of them something changes.
"""

import argparse
from dataclasses import fields
from pathlib import Path

import numpy as np

from facemend.files import seed_of
from facemend.reconstruction.acceptance import Evidence
from facemend.reconstruction.model import shipped_model_path
from tools.fit_acceptance.finds import collect, read_cache
from tools.fit_acceptance.table import fit, report

_FOLDS = 4


def main() -> None:
    """Collects, fits, reports and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--shared", type=Path, required=True, help="the folder with the photos")
    parser.add_argument("--model", type=Path, default=shipped_model_path())
    parser.add_argument("--cache", type=Path, required=True, help="what is known of each find")
    parser.add_argument("--anew", action="store_true", help="collect again: for another model")
    options = parser.parse_args()
    if options.anew or not options.cache.exists():
        collect(options.shared, options.model, options.cache)
    photos, finds = read_cache(options.cache)
    rows = np.stack([find.evidence for find in finds])
    known = np.array([find.covered is not None for find in finds])
    covered = np.array([float(bool(find.covered)) for find in finds])
    fold = np.array(
        [seed_of(photos[find.photo]["source"], photos[find.photo]["name"]) % _FOLDS for find in finds]
    )
    apart = np.zeros(len(finds))
    for part in range(_FOLDS):
        fitted = known & (fold != part)
        table = fit(rows[fitted], covered[fitted])
        apart[fold == part] = table.probabilities(rows[fold == part])
    table = fit(rows[known], covered[known])
    print(f"{len(photos)} photos, {known.sum()} finds of which is known what they are\n")
    print("Photos that the table was not fitted to")
    report(photos, finds, apart)
    print("\nThe same photos that it was fitted to")
    report(photos, finds, table.probabilities(rows))
    print(f"\nINTERCEPT = {table.intercept:.2f}\nWEIGHTS = {{")
    for field, weight in zip(fields(Evidence), table.weights, strict=True):
        print(f'    "{field.name}": {weight:.2f},')
    print("}")


if __name__ == "__main__":
    main()
