"""Hashes the protocol's inputs over CelebA's val and test split: src/facemend/evaluation/bench_v1.json.

    python tools/freeze_bench.py CELEBA

A frozen protocol is not frozen again: run this for a new version of it only.
"""

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from facemend.datasets import FaceSource, Split, open_source, take_split
from facemend.evaluation.protocol import input_digest, join_digests, kinds_for, make_input, protocol_kinds

_OUT = Path(__file__).resolve().parents[1] / "src/facemend/evaluation/bench_v1.json"


def main() -> None:
    """Reads the command line and writes the hashes."""
    parser = argparse.ArgumentParser(description="Hashes the inputs of the protocol.")
    parser.add_argument("source", type=Path, help="CelebA, with all its annotations")
    source = open_source(parser.parse_args().source)
    digests = {split.value: hash_inputs(take_split(source, split)) for split in (Split.VAL, Split.TEST)}
    _OUT.write_text(json.dumps(digests, indent=2) + "\n", encoding="utf-8")


def hash_inputs(faces: FaceSource) -> dict[str, str]:
    """One hash a kind over all inputs of a split."""
    digests: dict[str, list[bytes]] = {kind: [] for kind in protocol_kinds()}
    for record in tqdm(faces.records, unit="face"):
        crop = faces.crop(record)
        for kind in kinds_for(record.attributes, protocol_kinds()):
            digests[kind].append(input_digest(record.name, make_input(crop, record.name, kind)))
    return {kind: join_digests(of_kind) for kind, of_kind in digests.items()}


if __name__ == "__main__":
    main()
